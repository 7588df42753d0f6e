# Makes etc/ssl/certs of the certificates below $authorities: NAME.pem and a link by subject hash for each, the bundle
# ca-certificates.crt, and java/cacerts.
use strict;
use warnings;

my $out = $ENV{out};
my @openssl = split ' ', $ENV{openssl};
my $certs = "$out/etc/ssl/certs";
my $at = '';
for (split m{/}, "$certs/java") { next if $_ eq ''; $at .= "/$_"; -d $at or mkdir $at or die "$at: $!" }

my @files = sort map { glob "$ENV{authorities}/$_" } '*.crt', '*/*.crt', '*/*/*.crt';
my ($bundle, @entries, %hashes) = ('');
for my $file (@files) {
    my $pem = read_file($file);
    $pem .= "\n" unless $pem =~ /\n\z/;
    my ($name) = $file =~ m{([^/]*)\.crt$};
    write_file("$certs/$name.pem", $pem);
    $bundle .= $pem;
    my $hash = run('x509', '-subject_hash', '-noout', '-in', $file);
    chomp $hash;
    my $number = $hashes{$hash}++;
    symlink "$name.pem", "$certs/$hash.$number" or die "$hash: $!";
    push @entries, [ 'debian:' . lc "$name.pem", run('x509', '-outform', 'DER', '-in', $file) ];
}
write_file("$certs/ca-certificates.crt", $bundle);

# A key store of the type JKS, version 2, as sun.security.provider.JavaKeyStore reads it. The date of an entry is 0.
my $store = pack 'N N N', 0xFEEDFEED, 2, scalar @entries;
for (@entries) {
    my ($alias, $der) = @$_;
    $alias =~ s/[^\x20-\x7e]/_/g;
    $store .= pack('N n/a* N N n/a* N/a*', 2, $alias, 0, 0, 'X.509', $der);
}
my $password = join '', map { "\0$_" } split //, 'changeit';
my $signed = "$ENV{NIX_BUILD_TOP}/signed";
write_file($signed, $password . 'Mighty Aphrodite' . $store);
write_file("$certs/java/cacerts", $store . run('dgst', '-sha1', '-binary', $signed));

sub run {
    my @arguments = @_;
    open my $pipe, '-|', @openssl, @arguments or die "openssl: $!";
    binmode $pipe;
    local $/;
    my $text = <$pipe>;
    close $pipe or die "openssl @arguments failed";
    return $text;
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<:raw', $file or die "$file: $!";
    local $/;
    return scalar <$handle>;
}

sub write_file {
    my ($file, $text) = @_;
    open my $handle, '>:raw', $file or die "$file: $!";
    print $handle $text;
    close $handle or die "$file: $!";
}
