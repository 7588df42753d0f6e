/** What "runs correctly" means for each program: a script that uses it for real, and what it must print. */

export interface ProgramCase {
  readonly name: string;
  readonly packages: readonly string[];
  /** Bash, in a new root with the packages' view; a failing command ends it. */
  readonly script: string;
  /** The whole output, or a pattern that it must match. */
  readonly prints: string | RegExp;
  /** Suites beside bookworm. */
  readonly alsoOn?: readonly string[];
  readonly needsRoot?: boolean;
}

const everySuite = ['trixie', 'sid'];

export const programs: readonly ProgramCase[] = [
  {
    name: 'bash and coreutils',
    packages: ['bash', 'coreutils'],
    alsoOn: everySuite,
    script: `
      declare -A count; for word in b a b; do count[$word]=$(( \${count[$word]:-0} + 1 )); done
      printf '%s\\n' "\${!count[@]}" | sort | tr '\\n' ' '; echo "\${count[b]}"
      mkdir -p d/e; echo text > d/e/f; cp -r d g; sha256sum g/e/f | cut -c1-8; ls -l g/e | wc -l
      echo one two | awk '{ print $2 }'; id -un; date -u -d @0 +%F; TZ=Europe/Berlin date -d @0 +%H:%M`,
    prints: 'a b 2\nb9e68e1b\n2\ntwo\nroot\n1970-01-01\n01:00\n',
  },
  {
    name: 'python3: ssl, sqlite3, a virtual environment with pip',
    packages: ['python3'],
    alsoOn: everySuite,
    script: `
      python3 -c 'import ssl, sqlite3, sys, zlib, lzma, ctypes, json
      db = sqlite3.connect(":memory:"); print(db.execute("select 6 * 7").fetchone()[0])
      print(len(ssl.create_default_context().get_ca_certs()) > 50, sys.prefix)'
      mkdir -p lib/hello; cat > lib/pyproject.toml <<'END'
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "hello"
version = "1.0"
[tool.setuptools]
packages = ["hello"]
END
      echo 'def greet(): return "hello from a wheel"' > lib/hello/__init__.py
      python3 - <<'END'
import zipfile
with zipfile.ZipFile("hello-1.0-py3-none-any.whl", "w") as wheel:
    wheel.write("lib/hello/__init__.py", "hello/__init__.py")
    wheel.writestr("hello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: hello\\nVersion: 1.0\\n")
    wheel.writestr("hello-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("hello-1.0.dist-info/RECORD", "")
END
      python3 -m venv env
      env/bin/pip install --quiet --no-index ./hello-1.0-py3-none-any.whl
      env/bin/python -c 'import hello, sys; print(hello.greet(), sys.prefix != sys.base_prefix)'`
      .replaceAll('\n      db = ', '\ndb = ')
      .replace('\n      print(len', '\nprint(len'),
    prints: '42\nTrue /usr\nhello from a wheel True\n',
  },
  {
    name: 'nodejs with npm',
    packages: ['nodejs'],
    alsoOn: everySuite,
    script: `
      mkdir -p library app
      echo '{ "name": "library", "version": "1.2.3" }' > library/package.json
      echo 'module.exports = (name) => "hello " + name;' > library/index.js
      (cd library && npm pack --silent)
      cd app && npm init --yes > /dev/null
      npm install --silent --no-audit --no-fund --offline ../library/library-1.2.3.tgz
      node -e 'console.log(require("library")("npm"), require("crypto").createHash("md5").update("x").digest("hex"))'
      npm ls --depth 0 | tail -n +2`,
    prints: /^library-1\.2\.3\.tgz\nhello npm 9dd4e461268c8034f5c8564e155c67a6\n.* library@1\.2\.3\n/,
  },
  {
    name: 'git over a local remote',
    packages: ['git'],
    alsoOn: everySuite,
    script: `
      git config --global user.name Test; git config --global user.email test@localhost
      git config --global init.defaultBranch main
      git init --quiet --bare remote.git
      git clone --quiet remote.git one 2> /dev/null
      (cd one; echo text > file; git add file; git commit --quiet -m First; git push --quiet origin HEAD:main)
      git clone --quiet remote.git two
      (cd two; git log --format='%an %s'; git submodule status; git stash list)
      git -C two rebase --quiet HEAD; git -C two diff --stat HEAD; git help -a | grep -c .  > /dev/null; echo done`,
    prints: 'Test First\ndone\n',
  },
  {
    name: 'gcc and g++',
    packages: ['gcc'],
    alsoOn: everySuite,
    script: `
      cat > a.c <<'END'
#include <stdio.h>
#include <math.h>
#include <pthread.h>
static void *run(void *x) { *(double *)x = sqrt(2); return 0; }
int main(void) { double x; pthread_t t; pthread_create(&t, 0, run, &x); pthread_join(t, 0); printf("%.3f\\n", x); }
END
      gcc -O2 -Wall -Werror a.c -o a -lm -pthread; ./a; cc -static a.c -o s -lm; ./s
      cat > b.cc <<'END'
#include <iostream>
#include <map>
#include <string>
int main() { std::map<std::string, int> m{{"x", 1}}; try { m.at("y"); } catch (const std::out_of_range &) { std::cout << "caught\\n"; } }
END
      g++ -std=c++17 b.cc -o b; ./b; c++ --version | grep -c Free; gcc -flto a.c -o l -lm && ./l`,
    prints: '1.414\n1.414\ncaught\n1\n1.414\n',
  },
  {
    name: 'make',
    packages: ['gnumake'],
    script: `
      printf 'all: one two\\n\\techo linked $^\\n%%:\\n\\t@echo $@ > $@; echo made $@\\n' > Makefile
      make --silent -j2 | sort; make --silent`,
    prints: 'linked one two\nmade one\nmade two\nlinked one two\n',
  },
  {
    name: 'perl with a module',
    packages: ['perl', 'libjson-perl'],
    alsoOn: everySuite,
    script: `
      perl -MJSON -MDigest::SHA=sha1_hex -MPOSIX=floor -MTime::HiRes -MList::Util=sum -e '
        print JSON->new->canonical->encode({ sum => sum(1 .. 4), sha => substr(sha1_hex("x"), 0, 6), floor => floor(2.7) }), "\\n"'
      perldoc -V > /dev/null 2>&1 || true; perl -Mutf8 -CS -e 'print lc("ÄÖ"), "\\n"'`,
    prints: '{"floor":2,"sha":"11f6ad","sum":10}\näö\n',
  },
  {
    name: 'ruby',
    packages: ['ruby'],
    script: `
      ruby -rjson -ropenssl -ryaml -e 'puts JSON.generate({ a: [1, nil] }), OpenSSL::Digest::SHA256.hexdigest("x")[0, 6], {"k" => 1}.to_yaml.lines.last'
      gem list 2> /dev/null | grep -c '^json '
      mkdir -p lib; echo 'module Hello; def self.greet = "hello from a gem"; end' > lib/hello.rb
      echo 'Gem::Specification.new { |s| s.name = "hello"; s.version = "1.0"; s.summary = "x"; s.authors = ["x"]; s.files = ["lib/hello.rb"] }' > hello.gemspec
      gem build --silent hello.gemspec 2> /dev/null
      gem install --silent --local --install-dir gems hello-1.0.gem; GEM_PATH=gems ruby -rhello -e 'puts Hello.greet'`,
    prints: '{"a":[1,null]}\n2d7116\nk: 1\n1\nhello from a gem\n',
  },
  {
    name: 'golang-go: build and run offline',
    packages: ['go'],
    script: `
      export GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
      mkdir app; cd app; go mod init example/app 2> /dev/null
      cat > main.go <<'END'
package main

import ("encoding/json"; "fmt"; "strings")

func main() { text, _ := json.Marshal(map[string]int{"a": 1}); fmt.Println(strings.ToUpper(string(text))) }
END
      echo 'package main; import "testing"; func TestX(t *testing.T) {}' > main_test.go
      go run . ; CGO_ENABLED=0 go build -o app . && ./app; go vet . && CGO_ENABLED=0 go test . | cut -f1`,
    prints: '{"A":1}\n{"A":1}\nok  \n',
  },
  {
    name: 'openjdk: compile and run',
    packages: ['openjdk'],
    script: `
      cat > Main.java <<'END'
import java.security.KeyStore; import javax.net.ssl.*; import java.util.*;
public class Main { public static void main(String[] args) throws Exception {
  var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
  factory.init((KeyStore) null);
  System.out.println(((X509TrustManager) factory.getTrustManagers()[0]).getAcceptedIssuers().length > 50);
  System.out.println(String.join(",", new TreeSet<>(List.of("b", "a"))));
  System.out.println(java.time.ZoneId.of("Europe/Berlin"));
} }
END
      javac --release 11 Main.java; java Main
      jar --create --file main.jar --main-class Main Main.class; java -jar main.jar | tail -1
      jshell -s - <<< 'System.out.println(6 * 7)'; test -x "$JAVA_HOME/bin/javac"; "$JAVA_HOME/bin/java" Main | head -1`,
    prints: 'true\na,b\nEurope/Berlin\nEurope/Berlin\n42\ntrue\n',
  },
  {
    name: 'postgresql: initdb, start, query as the user postgres',
    packages: ['postgresql'],
    needsRoot: true,
    script: `
      mkdir data; chown postgres: data
      as() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=/tmp "$@"; }
      as initdb --pgdata data --auth trust --encoding UTF8 > /dev/null
      as pg_ctl --pgdata data --silent --wait --options "-k /tmp -c listen_addresses=''" --log log start
      as psql --host /tmp --quiet --tuples-only --no-align postgres <<'END'
create table t (id serial primary key, name text);
insert into t (name) values ('b'), ('a');
select string_agg(name, ',' order by name) from t;
select now() at time zone 'Europe/Berlin' is not null;
create extension pgcrypto; select encode(digest('x', 'md5'), 'hex');
END
      as createdb --host /tmp other; as pg_dump --host /tmp postgres | grep -c 'COPY public.t'
      as pg_ctl --pgdata data --silent stop`,
    prints: 'a,b\nt\n9dd4e461268c8034f5c8564e155c67a6\n1\n',
  },
  {
    name: 'redis: server, set and get',
    packages: ['redis'],
    script: `
      redis-server --port 0 --unixsocket /tmp/redis.sock --daemonize yes --dir /tmp > /dev/null
      for try in $(seq 50); do [ -S redis.sock ] && break; sleep 0.1; done
      redis() { redis-cli -s /tmp/redis.sock "$@"; }
      redis set key value; redis get key; redis eval 'return redis.call("incr", "n") + 1' 0; redis save
      redis shutdown nosave; redis-check-rdb dump.rdb | grep -c 'RDB looks OK'`,
    prints: 'OK\nvalue\n2\nOK\n1\n',
  },
  {
    name: 'sqlite3',
    packages: ['sqlite3'],
    script: `
      sqlite3 data.db 'create table t (x); insert into t values (1), (2); select sum(x) from t;'
      sqlite3 -json data.db "select json_extract('{\\"a\\": 3}', '$.a') as a"`,
    prints: '3\n[{"a":3}]\n',
  },
  {
    name: 'ripgrep',
    packages: ['ripgrep'],
    alsoOn: everySuite,
    script: `
      mkdir -p d; echo 'needle here' > d/a.txt; echo none > d/b.txt; echo 'd/c.txt' > .ignore; cp d/a.txt d/c.txt
      rg --sort path needle .; rg --count-matches --glob '*.txt' 'n.{3}le' d/a.txt; rg -P '(?<=need)le' -o d/a.txt || true`,
    prints: /^\.\/d\/a\.txt:needle here\n1\n/,
  },
  {
    name: 'jq',
    packages: ['jq'],
    alsoOn: everySuite,
    script: `echo '{"a":[1,2,{"b":"x"}]}' | jq -c '.a | map(numbers) | add, (.[2].b? // "none"), ("abc" | test("^a.c$"))'`,
    prints: '3\n"none"\ntrue\n',
  },
  {
    name: 'curl: https to a server with its own authority',
    packages: ['curl', 'openssl', 'python3'],
    script: `
      openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \\
        -addext subjectAltName=DNS:localhost 2> /dev/null
      echo content > file
      cat > server.py <<'END'
import http.server, ssl
server = http.server.HTTPServer(("localhost", 8443), http.server.SimpleHTTPRequestHandler)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); tls.load_cert_chain("cert.pem", "key.pem")
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
END
      python3 server.py 2> /dev/null & server=$!
      for try in $(seq 50); do curl --silent --insecure https://localhost:8443/ > /dev/null && break; sleep 0.1; done
      curl --silent --fail --cacert cert.pem https://localhost:8443/file
      curl --silent https://localhost:8443/file || echo "refused: $?"
      kill $server
      grep -c 'BEGIN CERTIFICATE' /etc/ssl/certs/ca-certificates.crt | awk '{ print ($1 > 100) }'
      for link in /etc/ssl/certs/*.0; do openssl verify -no_check_time -CApath /etc/ssl/certs $link > /dev/null; done && echo verified`,
    prints: 'content\nrefused: 60\n1\nverified\n',
  },
  {
    name: 'ffmpeg: make, convert and probe',
    packages: ['ffmpeg'],
    script: `
      ffmpeg -v error -f lavfi -i sine=frequency=440:duration=1 -f lavfi -i testsrc=duration=1:size=64x48:rate=10 \\
        -c:v libx264 -pix_fmt yuv420p -c:a aac out.mp4
      ffmpeg -v error -i out.mp4 -c:a libmp3lame out.mp3; ffmpeg -v error -i out.mp4 -frames:v 1 out.png
      ffprobe -v error -show_entries stream=codec_name,width -of csv=p=0 out.mp4
      ffprobe -v error -show_entries stream=codec_name -of csv=p=0 out.mp3; head -c 4 out.png | tail -c 3`,
    prints: 'h264,64\naac\nmp3\nPNG',
  },
  {
    name: 'imagemagick',
    packages: ['imagemagick'],
    script: `
      convert -size 20x10 xc:red \\( -size 20x10 xc:blue \\) -append image.png
      identify -format '%m %wx%h\\n' image.png; convert image.png -resize 50% image.jpg; identify -format '%m %wx%h\\n' image.jpg
      convert image.png -crop 1x1+0+15 txt:- | grep -o 'blue'; mogrify -rotate 90 image.png; identify -format '%wx%h\\n' image.png
      convert -list font | grep -c Font: | awk '{ print ($1 > 0) }'`,
    prints: 'PNG 20x20\nJPEG 10x10\nblue\n20x20\n1\n',
  },
  {
    name: 'vim: edit in batch',
    packages: ['vim'],
    script: `
      printf 'one\\ntwo\\n' > file
      vim -es -u NONE -c '%s/two/three/' -c 'normal ggyyp' -c wq file; cat file
      vi -es -u NONE -c 'g/one/d' -c wq file; cat file; vim --version | head -1 | cut -c1-13
      vim -es -c 'syntax on' -c 'set filetype?' -c 'redir > out' -c 'echo exists("g:syntax_on")' -c 'redir END' -c q file.py || true
      tr -d '\\n' < out`,
    prints: 'one\none\nthree\nthree\nVIM - Vi IMpr\n  filetype=python\n1',
  },
  {
    name: 'tmux: a session, keys and capture',
    packages: ['tmux'],
    script: `
      tmux -f /dev/null new-session -d -s work -x 80 -y 24 'bash --norc'
      tmux send-keys -t work 'echo $((6 * 7)) > result; tmux wait-for -S done' Enter
      tmux wait-for done; cat result; tmux capture-pane -t work -p | grep -q wait-for && echo captured; tmux list-sessions -F '#S'
      tmux kill-server`,
    prints: '42\ncaptured\nwork\n',
  },
];
