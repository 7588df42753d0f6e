# What Debian's packages need beyond being merged into one prefix, each with its reason. view.pl carries it out.
# Patterns are shell globs over paths below the view, without a leading slash; `*` does not match `/`.
{
  # What every environment has: the part of Debian's essential packages that programs take for granted, plus
  # certificates, time zones and the names of services. (No init, no package manager, no login.)
  base = [
    "base-files"
    "base-passwd"
    "bash"
    "bsdutils"
    "ca-certificates"
    "coreutils"
    "dash"
    "debianutils"
    "diffutils"
    "findutils"
    "grep"
    "gzip"
    "hostname"
    "libc-bin"
    "mawk"
    "media-types"
    "ncurses-base"
    "ncurses-bin"
    "netbase"
    "perl-base"
    "procps"
    "sed"
    "tar"
    "tzdata"
    "util-linux"
  ];

  # What a package needs to be of the use that people expect, where Debian only recommends it.
  companions = {
    openjdk-17-jre-headless = [ "ca-certificates" ];
  };

  # Programs that find their files from where they really are, which for a link is inside one package.
  copied = [
    # gcc's driver looks for cc1 and its libraries beside itself before anywhere else.
    "usr/bin/*-linux-gnu-gcc-[0-9]*"
    "usr/bin/*-linux-gnu-g++-[0-9]*"
    "usr/bin/*-linux-gnu-cpp-[0-9]*"
    "usr/bin/*-linux-gnu-gfortran-[0-9]*"
    "usr/bin/*-linux-gnu-gdc-[0-9]*"
    # clang's too.
    "usr/lib/llvm-[0-9]*/bin/clang"
    # Node looks for /usr/share/nodejs from its own place: npm and its 400 modules are there.
    "usr/bin/node"
    # rustc's standard library lies below its own prefix, in another package.
    "usr/bin/rustc"
  ];

  # The same in a prefix that no /usr leads to: Python's standard library would be looked for in /usr.
  copiedAlone = [ "usr/bin/python3.[0-9]*" ];

  # Where several packages share the folder around it; else it is right as it is.
  copiedWhereMerged = [
    # The JVM takes the folder of libjvm.so for its home, which the JDK's packages share.
    "usr/lib/jvm/*/lib/server/libjvm.so"
    # Ruby tells files apart by their real paths, so that one that is required by its name and by its place, by way of
    # different links, would be loaded twice.
    "usr/lib/ruby/vendor_ruby/*"
    "usr/lib/ruby/vendor_ruby/*/*"
  ];

  # Left out of views, to keep them small: nothing may depend on them (Debian policy 12.3), and they stay in the
  # packages' own store paths.
  omitted = [
    "usr/share/doc"
    "usr/share/doc-base"
    "usr/share/lintian"
    "usr/share/bug"
    "usr/share/apport"
  ];

  # Translations: of no use where no locale but C.UTF-8 is. Kept as soon as a package of `locales` is in the closure.
  translations = [
    "usr/share/locale"
    "usr/share/man/[a-ln-z]*"
    "usr/share/man/m[a-zA-Z]*"
  ];
  locales = [
    "locales"
    "locales-all"
  ];

  # Variables to set when a path is in the view; the first match counts and is put in for `%`.
  variables = {
    SSL_CERT_FILE = "etc/ssl/certs/ca-certificates.crt";
    GOROOT = "usr/lib/go-*";
    JAVA_HOME = "usr/lib/jvm/java-*-openjdk-*";
  };

  # Folders whose programs belong on PATH beside usr/bin, where Debian keeps several versions apart.
  path = [
    "usr/lib/postgresql/*/bin"
    "usr/lib/go-*/bin"
  ];

  # Folders of /usr whose names are in a library: see beside.nix. They are copied for a package that is beside the view.
  moved = [
    {
      # A part of Node's own modules is read from there.
      package = "nodejs";
      library = "usr/lib/*/libnode.so.*";
      folder = "/usr/share/nodejs";
    }
  ];
}
