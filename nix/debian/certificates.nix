# What ca-certificates' and ca-certificates-java's scripts would make of the certificates: OpenSSL's bundle and hashed
# links, and Java's key store. A derivation of its own, so that views share it.
{ archive, builds, perl }:
let
  openssl = builds.archive.members.openssl.unpacked;
  libraries = builtins.concatStringsSep ":" (
    map (member: "${member.unpacked}/usr/lib/${builds.archive.triplet}") (builds.closure [ "openssl" ])
  );
in
derivation {
  name = "certificates";
  system = archive.buildSystem;
  builder = perl.loader;
  args = perl.arguments ++ [ (builtins.toFile "certificates.pl" (builtins.readFile ./certificates.pl)) ];
  authorities = "${archive.members.ca-certificates.unpacked}/usr/share/ca-certificates";
  # Runs openssl by the suite's own loader.
  openssl = "${perl.loader} --library-path ${libraries} ${openssl}/usr/bin/openssl";
  preferLocalBuild = true;
  allowSubstitutes = false;
}
