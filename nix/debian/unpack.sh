# Unpacks one .deb into $out. Run by the suite's busybox in Nix's sandbox; all commands are its applets.
#
# The files stay as they are, but for the merge of /bin, /sbin and /lib* into /usr, as on every current Debian. The
# folder .berth tells the view's builder (view.pl) what it could only find out by reading all files:
#   alternatives  what the package would give to update-alternatives, one `link name path priority` a line, slaves with
#                 the word `slave` before `link name path` on the lines after
#   users         what it would give to adduser, addgroup, useradd and groupadd
set -eu
member() { ar -t "$deb" | while read -r name; do case $name in "$1".tar*) echo "$name" ;; esac; done; }
extract() {
  name=$(member "$1")
  case $name in
    *.xz) ar -p "$deb" "$name" | unxz -c | tar -x -o -f - -C "$2" ;;
    *.gz) ar -p "$deb" "$name" | gunzip -c | tar -x -o -f - -C "$2" ;;
    *.tar) ar -p "$deb" "$name" | tar -x -o -f - -C "$2" ;;
    *)
      echo "$package: cannot unpack $name of the package: only xz, gzip and plain archives are known" >&2
      exit 1
      ;;
  esac
}
mkdir -p "$out"
extract data "$out"
cd "$out"
chmod -R u+rwX .

for directory in bin sbin lib lib32 lib64 libx32 libo32; do
  if [ -d "$directory" ] && [ ! -L "$directory" ]; then
    mkdir -p "usr/$directory"
    cp -a "$directory/." "usr/$directory/"
    rm -rf "$directory"
  fi
  if [ -d "usr/$directory" ] && [ ! -L "usr/$directory" ] && [ ! -e "$directory" ] && [ ! -L "$directory" ]; then
    ln -s "usr/$directory" "$directory"
  fi
done

# A module of Node finds others in the folders above where it really is, which is this package: so the shared folder of
# all modules is shown there too.
if [ -d usr/share/nodejs ] && ! [ -e usr/share/node_modules ]; then ln -s /usr/share/nodejs usr/share/node_modules; fi

mkdir .berth
# A relative link that leaves its folder for another package's file, or for a folder that others may add to, says the same
# as an absolute one, since every view is at /usr; only that one still leads there when a view has the folder around it as
# one link into this package.
find . -type l | sed 's,^\./,,' | while read -r link; do
  target=$(readlink "$link")
  case $target in
    /*) continue ;;
    ../*) if [ -e "$link" ] && ! [ -d "$link" ]; then continue; fi ;;
    *) if [ -e "$link" ]; then continue; fi ;;
  esac
  # A link to a link, which leads elsewhere itself.
  if [ -L "${link%/*}/$target" ]; then continue; fi
  printf '%s\t%s\n' "$link" "$target"
done | awk -F '\t' '{
  n = split($1, parts, "/"); m = split($2, words, "/")
  depth = n - 1
  for (i = 1; i <= m; i++) {
    if (words[i] == "" || words[i] == ".") continue
    if (words[i] == "..") { if (depth > 0) depth-- } else parts[++depth] = words[i]
  }
  path = ""
  for (i = 1; i <= depth; i++) path = path "/" parts[i]
  # A link beside its target stays: folders of programs and libraries are never one link.
  if (index($2, "/")) print path "\t" $1
}' | while IFS="$(printf '\t')" read -r target link; do ln -sfn "$target" "$link"; done

control=$NIX_BUILD_TOP/control
mkdir "$control"
extract control "$control"
if [ -f "$control/postinst" ] &&
  grep -qE '(update-alternatives|adduser|addgroup|useradd|groupadd)' "$control/postinst"; then
  # The script runs for what it says to these programs; they only write it down, and nothing else it does has an effect.
  stubs=$NIX_BUILD_TOP/stubs
  mkdir "$stubs"
  export record="$out/.berth"
  stub() {
    { printf '#!%s\n' "$builder"; cat; } > "$stubs/$1"
    chmod +x "$stubs/$1"
  }
  stub update-alternatives <<'STUB'
line=
while [ $# -gt 0 ]; do
  case $1 in
    --install) echo "$2 $3 $4 $5" >> "$record/alternatives"; shift 4 ;;
    --slave) echo "slave $2 $3 $4" >> "$record/alternatives"; shift 3 ;;
  esac
  shift
done
STUB
  for name in adduser addgroup useradd groupadd; do
    stub $name <<'STUB'
printf '%s' "${0##*/}" >> "$record/users"
for word; do printf '\t%s' "$word" >> "$record/users"; done
echo >> "$record/users"
STUB
  done
  # Asked whether a user is there already: no.
  for name in getent; do printf 'exit 2\n' | stub $name; done
  for name in deb-systemd-helper deb-systemd-invoke systemctl systemd-tmpfiles systemd-sysusers invoke-rc.d update-rc.d \
    dpkg-maintscript-helper dpkg-statoverride dpkg-divert dpkg-trigger dpkg-query ldconfig install-info ucf ucfr \
    update-mime update-menus update-icon-caches update-desktop-database usermod userdel gpasswd install py3compile \
    pycompile update-python-modules update-ca-certificates mountpoint; do
    printf 'exit 0\n' | stub $name
  done
  {
    for name in chown chgrp chmod mkdir rm rmdir mv cp ln touch find mktemp; do echo "$name() { :; }"; done
    echo 'dpkg() { if [ "$1" = --print-architecture ]; then echo "$architecture"; else return 1; fi; }'
    for name in db_get db_set db_input db_go db_stop db_version db_capb db_beginblock db_endblock db_fset db_subst \
      db_unregister db_purge db_title db_reset db_register db_metaget db_progress; do echo "$name() { RET=; }"; done
    # No file of another package can be sourced, and a program that is not here must not end the script.
    sed -E -e 's/^([[:space:]]*)set -[eux]+/\1:/' -e 's,(^|&&|\|\||;|then|do|else)([[:space:]]*)(\.|source)[[:space:]]+/[^ ;]+,\1\2:,g' "$control/postinst"
  } > "$NIX_BUILD_TOP/postinst"
  DPKG_MAINTSCRIPT_PACKAGE=$package DPKG_MAINTSCRIPT_ARCH=$architecture DPKG_MAINTSCRIPT_NAME=postinst DEBIAN_FRONTEND=noninteractive PATH=$stubs \
    timeout 20 "$builder" "$NIX_BUILD_TOP/postinst" configure '' < /dev/null || true
fi
