# What ca-certificates' and ca-certificates-java's scripts would make of the certificates: OpenSSL's bundle and hashed
# links, and Java's key store. A derivation of its own, so that views share it.
{ archive, closure, perl }:
let
  openssl = archive.members.openssl.unpacked;
  libraries = builtins.concatStringsSep ":" (
    map (member: "${member.unpacked}/usr/lib/${archive.triplet}") (closure [ "openssl" ])
  );
in
derivation {
  name = "certificates";
  inherit (archive) system;
  builder = perl.loader;
  args = perl.arguments ++ [ (builtins.toFile "certificates.pl" (builtins.readFile ./certificates.pl)) ];
  authorities = "${archive.members.ca-certificates.unpacked}/usr/share/ca-certificates";
  # Runs openssl by the suite's own loader.
  openssl = "${perl.loader} --library-path ${libraries} ${openssl}/usr/bin/openssl";
  preferLocalBuild = true;
  allowSubstitutes = false;
}
