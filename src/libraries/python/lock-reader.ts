/**
 * Programs that the environment's own Python runs: it alone knows which markers (PEP 508) hold for it and which wheels (PEP
 * 425) it takes, and pip has the code that says so.
 */

/** Reads a lock, `python3 -c PROGRAM FILE`, and prints what python-lock.ts has the schema of. */
export const lockReader = String.raw`
import json, os, re, sys

def give(value):
    print(json.dumps(value))
    sys.exit(0)

def refuse(code, message, hint=None):
    give({"problem": {"code": code, "message": message, "hint": hint}})

try:
    from pip._internal.models.index import PyPI
    from pip._internal.utils.compatibility_tags import get_supported
    from pip._vendor.packaging.markers import Marker
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
    from pip._vendor.packaging.specifiers import SpecifierSet
    from pip._vendor.packaging.utils import canonicalize_name
except ImportError as error:
    refuse("LIBRARY_PROGRAM_MISSING", "The environment's Python has no pip: %s." % error)
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib

path, = sys.argv[1:]
name = os.path.basename(path)
python = ".".join(map(str, sys.version_info[:3]))

def holds(marker, extra=""):
    return marker is None or Marker(marker).evaluate({"extra": extra})

def toml(file):
    try:
        with open(file, "rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        refuse("LIBRARY_LOCK_INVALID", "%s is not TOML: %s." % (os.path.basename(file), error))

def allows(wanted):
    """Poetry's constraints too: ^3.9, ~3.9, * and alternatives."""
    def plain(one):
        numbers = [int(it) for it in re.findall(r"\d+", one)]
        if one.startswith("^"):
            return ">=%s,<%d" % (one[1:], numbers[0] + 1)
        if re.match(r"~\d", one):
            return ">=%s,<%s" % (one[1:], "%d.%d" % (numbers[0], numbers[1] + 1) if len(numbers) > 1 else numbers[0] + 1)
        return "" if one == "*" else one
    return any(
        SpecifierSet(",".join(plain(it.strip()) for it in either.split(","))).contains(python, prereleases=True)
        for either in re.split(r"\|\|?", wanted)
    )

def require_python(wanted):
    if wanted and not allows(wanted):
        refuse("LIBRARY_PLATFORM", "%s is for Python %s; the environment has %s." % (name, wanted, python))

def no_hash(label, hint):
    refuse("LIBRARY_LOCK_UNHASHED", "%s has no hash for %s." % (name, label), hint)

def unsupported(label, place):
    refuse("LIBRARY_UNSUPPORTED", "%s: %s comes from %s, which has no hash." % (name, label, place))

def from_requirements():
    found, indexes = [], []
    with open(path, encoding="utf-8") as stream:
        text = re.sub(r"\\\r?\n", " ", stream.read())
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not line or line == "--require-hashes":
            continue
        option = re.match(r"(-i|--index-url|--extra-index-url)[ =]\s*(\S+)$", line)
        if option:
            indexes.append(option.group(2))
            continue
        if line.startswith("-"):
            refuse("LIBRARY_UNSUPPORTED", "%s has the line %s, which Berth does not follow." % (name, line),
                   "Compile it to one file of pinned packages with hashes (uv pip compile --generate-hashes).")
        head, *hashes = re.split(r"\s+--hash[= ]", line)
        try:
            wanted = Requirement(head.strip())
        except InvalidRequirement as error:
            refuse("LIBRARY_LOCK_INVALID", "%s: %s" % (name, str(error).splitlines()[0]))
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        pins = [it.version for it in wanted.specifier if it.operator in ("==", "===") and "*" not in it.version]
        if not hashes:
            no_hash(wanted.name, "Make it with pip-compile --generate-hashes or uv pip compile --generate-hashes.")
        if wanted.url is None and not pins:
            refuse("LIBRARY_LOCK_INVALID", "%s does not pin %s to one version." % (name, wanted.name))
        if wanted.url is not None and not wanted.url.startswith("https://"):
            unsupported(wanted.name, wanted.url)
        found.append({"name": canonicalize_name(wanted.name), "version": pins[0] if pins else None,
                      "files": [{"hash": it.strip(), "url": wanted.url, "file": None} for it in hashes]})
    return found, indexes, True

def from_uv():
    lock = toml(path)
    require_python(lock.get("requires-python"))
    packages = lock.get("package", [])
    def is_own(package):
        source = package.get("source", {})
        return any(kind in source for kind in ("virtual", "editable", "directory"))
    def find(edge):
        return [it for it in packages if it["name"] == edge["name"]
                and edge.get("version", it.get("version")) == it.get("version")
                and edge.get("source", it.get("source")) == it.get("source")]
    seen, waiting = set(), []
    for at, package in enumerate(packages):
        if is_own(package):
            waiting.append((package, None))
            for edge in package.get("dev-dependencies", {}).get("dev", []):
                if holds(edge.get("marker")):
                    waiting += [(it, extra) for it in find(edge) for extra in [None] + edge.get("extra", [])]
    found, indexes = [], []
    while waiting:
        package, extra = waiting.pop()
        label = "%s %s" % (package["name"], package.get("version", ""))
        if (label, extra) in seen:
            continue
        seen.add((label, extra))
        edges = package.get("dependencies", []) if extra is None else package.get("optional-dependencies", {}).get(extra, [])
        for edge in edges:
            if holds(edge.get("marker"), extra or ""):
                waiting += [(it, more) for it in find(edge) for more in [None] + edge.get("extra", [])]
        if is_own(package) or extra is not None:
            continue
        source = package.get("source", {})
        if "registry" not in source and "url" not in source:
            unsupported(label, json.dumps(source))
        files = package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])
        for file in files:
            if "hash" not in file:
                no_hash(label, "Make the lock anew with uv lock.")
            if "url" not in file:
                unsupported(label, file.get("path", "a folder"))
        if source.get("registry"):
            indexes.append(source["registry"])
        found.append({"name": canonicalize_name(package["name"]), "version": package["version"],
                      "files": [{"hash": it["hash"], "url": it["url"], "file": None} for it in files]})
    return found, indexes, False

def from_poetry():
    lock = toml(path)
    require_python(lock.get("metadata", {}).get("python-versions"))
    packages = {canonicalize_name(it["name"]): [] for it in lock.get("package", [])}
    for package in lock.get("package", []):
        packages[canonicalize_name(package["name"])].append(package)
    old_files = lock.get("metadata", {}).get("files", {})
    def edges(package):
        for other, wanted in package.get("dependencies", {}).items():
            for one in wanted if isinstance(wanted, list) else [wanted]:
                one = one if isinstance(one, dict) else {}
                if not one.get("optional") and holds(one.get("markers")):
                    yield canonicalize_name(other)
    project = toml(os.path.join(os.path.dirname(path), "pyproject.toml"))
    poetry = project.get("tool", {}).get("poetry", {})
    groups = [poetry.get("dependencies", {}), poetry.get("dev-dependencies", {})]
    groups += [it.get("dependencies", {}) for it in poetry.get("group", {}).values() if not it.get("optional")]
    roots = set()
    for group in groups:
        for other, wanted in group.items():
            for one in wanted if isinstance(wanted, list) else [wanted]:
                one = one if isinstance(one, dict) else {}
                if not one.get("optional") and holds(one.get("markers")):
                    roots.add(canonicalize_name(other))
                    for extra in one.get("extras", []):
                        extras = (it.get("extras", {}).get(extra, []) for it in packages.get(canonicalize_name(other), []))
                        roots |= {canonicalize_name(re.split(r"[^\w.-]", it)[0]) for its in extras for it in its}
    for text in project.get("project", {}).get("dependencies", []):
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            roots.add(canonicalize_name(wanted.name))
    roots.discard("python")
    seen, found, indexes = set(), [], []
    while roots:
        one = roots.pop()
        if one in seen:
            continue
        seen.add(one)
        for package in packages.get(one, []):
            label = "%s %s" % (package["name"], package["version"])
            marker = package.get("markers")
            marker = marker.get("main") if isinstance(marker, dict) else marker
            if not holds(marker) or not allows(package.get("python-versions", "*")):
                continue
            source = package.get("source", {})
            if source.get("type", "legacy") not in ("legacy", "url"):
                unsupported(label, source.get("url", "a folder"))
            files = package.get("files") or old_files.get(package["name"], [])
            if not files:
                no_hash(label, "Make the lock anew with poetry lock.")
            if source.get("type") == "legacy":
                indexes.append(source["url"])
            url = source.get("url") if source.get("type") == "url" else None
            found.append({"name": one, "version": package["version"],
                          "files": [{"hash": it["hash"], "url": url, "file": it["file"]} for it in files]})
            roots |= set(edges(package))
    return found, indexes, False

readers = {"uv.lock": from_uv, "poetry.lock": from_poetry}
try:
    found, indexes, complete = readers.get(name, from_requirements)()
except (KeyError, TypeError, AttributeError, ValueError) as error:
    refuse("LIBRARY_LOCK_INVALID", "%s is not of its form: %r." % (name, error))
give({"packages": found, "indexes": list(dict.fromkeys(indexes)) or [PyPI.simple_url], "complete": complete,
      "python": python, "tags": [str(tag) for tag in get_supported()]})
`;

/**
 * Makes a virtual environment with the environment's own pip in it, \`python3 -c PROGRAM FOLDER\`. pip is copied rather than
 * installed from a wheel, since distributions ship it without one.
 */
export const environmentMaker = String.raw`
import glob, importlib.metadata, os, shutil, sys, venv
import pip

folder, = sys.argv[1:]
venv.create(folder, with_pip=False, symlinks=True)
library, = glob.glob(os.path.join(folder, "lib", "python*", "site-packages"))
ignore = shutil.ignore_patterns("__pycache__")
shutil.copytree(pip.__path__[0], os.path.join(library, "pip"), ignore=ignore)
about = importlib.metadata.distribution("pip")._path
shutil.copytree(about, os.path.join(library, os.path.basename(about)), ignore=ignore)
script = "#!%s/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n" % folder
for name in ("pip", "pip3"):
    file = os.path.join(folder, "bin", name)
    with open(file, "w") as stream:
        stream.write(script)
    os.chmod(file, 0o755)
for directory, folders, files in os.walk(folder):
    for name in folders + files:
        path = os.path.join(directory, name)
        if not os.path.islink(path):
            os.chmod(path, os.stat(path).st_mode | 0o200)
`;
