# Makes a prefix whose programs run beside those of another suite: $out/usr holds what the package's own prefix ($prefix)
# holds, but each program in it is a copy whose loader is its own suite's, which looks for libraries in this prefix. So
# neither the container's /usr nor LD_LIBRARY_PATH takes part, and nothing is said to the programs that it starts.
#
# Programs and libraries have names of folders in them, and only one as long can take a name's place: in the environment's
# view a link of that length leads here. $names has a line `kind from to …` for each:
#   loader FROM TO            the loader, as programs name it
#   folder FROM TO            where the loader looks
#   library FROM TO PATTERN   libraries that have the name of a folder in them; copied to $out/moved
#
#   $out/usr/bin, …       all programs of the closure, for each other
#   $out/bin/NAME         those of the package itself
#   $out/bin/NAME@WANTED  the same, for environments with several versions
#   $out/named/bin        the latter alone
# Run by perl-base in Nix's sandbox; uses no module but strict and warnings.
use strict;
use warnings;

my ($out, $prefix) = ($ENV{out}, $ENV{prefix});
my @names = map { [ split ' ' ] } split /\n/, $ENV{names};
my ($loader) = grep { $_->[0] eq 'loader' } @names;

mkdir $_ or die "$_: $!" for $out, "$out/usr", "$out/bin", "$out/named", "$out/named/bin", "$out/moved";
symlink "$prefix/etc", "$out/etc" if -e "$prefix/etc";
make_loader();
move_libraries();

# Folders that hold programs are made anew, all others are links.
my (%copies, @scripts);
for my $name (list("$prefix/usr")) { mirror("usr/$name") }
rewrite($_) for @scripts;
link_own();
# Programs look beside the folder that they were found in.
for my $name (qw(lib libexec share include)) { symlink "usr/$name", "$out/$name" if -e "$out/usr/$name" }

# Where a program of the prefix really is: view.pl has put a script in its place.
sub original {
    my ($path) = @_;
    my $wrapped = "$prefix/$path";
    $wrapped =~ s{/usr/(s?bin/[^/]+)$}{/.berth/wrapped/$1};
    return -e $wrapped ? $wrapped : "$prefix/$path";
}

sub mirror {
    my ($path) = @_;
    my $here = "$prefix/$path";
    # A link within the prefix is the same link here.
    my $target = readlink $here;
    if (defined $target && $target !~ m{^/|\.berth/m/}) { symlink $target, "$out/$path" or die "$out/$path: $!"; return }
    if (grep { $path eq $_ } words($ENV{whole})) { copy_tree($path); return }
    if (!holds_programs($path)) { symlink $here, "$out/$path" or die "$out/$path: $!"; return }
    mkdir "$out/$path" or die "$out/$path: $!";
    my @names = list($here);
    # A program under its own name first, so that other names are links to it.
    my %own = map { $_ => real_name("$path/$_") } @names;
    for my $name (sort { ($own{$b} eq $b) <=> ($own{$a} eq $a) || $a cmp $b } @names) {
        my $at = "$path/$name";
        if (-d "$prefix/$at") { mirror($at); next }
        my $file = original($at);
        my $kind = kind_of($file);
        if ($kind eq 'program') { place($at, $file) }
        elsif ($kind eq 'script' && $path =~ m{^usr/s?bin$}) { push @scripts, $at }
        else { symlink inside($at) // "$prefix/$at", "$out/$at" or die "$out/$at: $!" }
    }
}

# Where a link of a package leads that names a place of /usr: it means this prefix's.
sub inside {
    my ($path) = @_;
    my $target = readlink "$prefix/$path";
    $target = readlink "$prefix/.berth/m/$1/$2" if defined $target && $target =~ m{(?:^|/)\.berth/m/(\d+)/(.*)$};
    return defined $target && $target =~ m{^/(usr/.*)$} && -e "$prefix/$1" ? "$out/$1" : undef;
}

my %holding;
sub holds_programs {
    my ($path) = @_;
    return $holding{$path} //= do {
        my $found = $path =~ m{^usr/s?bin$} ? 1 : 0;
        # Programs are there, and in folders of lib and libexec; not in share, which is the same on every machine.
        $found = 1 if grep { m{^\Q$path\E(/|$)} && -d "$prefix/$_" } words($ENV{whole});
        if (!$found && $path =~ m{^usr/(lib|libexec)(/|$)} && -d "$prefix/$path") {
            for my $name (list("$prefix/$path")) {
                my $at = "$path/$name";
                if (-d "$prefix/$at") { next if is_loop($at) || !holds_programs($at) }
                elsif (kind_of("$prefix/$at") ne 'program') { next }
                $found = 1;
                last;
            }
        }
        $found;
    };
}

# A link to a folder above itself.
sub is_loop {
    my ($path) = @_;
    return 1 if ($path =~ tr{/}{}) > 24;
    my $target = readlink "$prefix/$path";
    return defined $target && $target =~ m{^(\.\.?/?)+$};
}

sub real_name {
    my ($path) = @_;
    my $file = original($path);
    while (defined(my $target = readlink $file)) {
        $file = $target =~ m{^/} ? $target : ($file =~ s{[^/]*$}{}r) . $target;
    }
    return $file =~ s{.*/}{}r;
}

# A copy is known by the file that it is of, so that a second name is a link to it.
sub place {
    my ($path, $file) = @_;
    my ($device, $number) = stat $file;
    my $known = $copies{"$device:$number"};
    if (defined $known) {
        symlink relative($path, $known), "$out/$path" or die "$out/$path: $!";
        return;
    }
    $copies{"$device:$number"} = $path;
    my $bytes = read_file($file);
    my ($was, $is) = map { "$_\0" } @$loader[1, 2];
    # The first is the program's own PT_INTERP; a program that starts others by the loader has it again.
    $bytes =~ s/\Q$was\E/$is/g or die "$path does not name the loader $loader->[1]\n";
    spew("$out/$path", $bytes);
    chmod 0755, "$out/$path";
}

# The suite's loader, which looks for libraries where the links lead, and in no cache.
sub make_loader {
    my $bytes = read_file("$prefix/usr/lib/$ENV{triplet}/$ENV{loader}");
    for (grep { $_->[0] eq 'folder' } @names) {
        my (undef, $from, $to) = @$_;
        $bytes =~ s/\0\Q$from\E\//\0$to\//g or die "the loader does not look in $from\n";
    }
    $bytes =~ s{/etc/ld\.so\.cache\0}{/etc/ld.so.none.\0}g;
    spew("$out/moved/$ENV{loader}", $bytes);
    chmod 0755, "$out/moved/$ENV{loader}";
}

sub move_libraries {
    for (grep { $_->[0] eq 'library' } @names) {
        my (undef, $from, $to, $pattern) = @$_;
        for my $file (grep { -f } glob "$prefix/$pattern") {
            my $bytes = read_file($file);
            next unless $bytes =~ s/\Q$from\E(?=[\/\0:'"])/$to/g;
            my $name = $file =~ s{.*/}{}r;
            spew("$out/moved/$name", $bytes);
            chmod 0755, "$out/moved/$name";
        }
    }
}

# Files that find others by where they really are: no links to the members.
sub copy_tree {
    my ($path) = @_;
    mkdir "$out/$path" or die "$out/$path: $!";
    for my $name (list("$prefix/$path")) {
        my $at = "$path/$name";
        my $target = readlink "$prefix/$at";
        if (defined $target && $target !~ m{\.berth/m/}) {
            # One that leads to the whole system's /usr means this one.
            my ($inside) = $target =~ m{^/(usr/.*)$};
            my $is_here = defined $inside && -e "$prefix/$inside";
            symlink $is_here ? "$out/$inside" : $target, "$out/$at" or die "$out/$at: $!";
        }
        elsif (-d "$prefix/$at") { copy_tree($at) }
        elsif (-f _) {
            copy("$prefix/$at", "$out/$at");
            chmod 0755, "$out/$at" if -x "$prefix/$at";
        }
    }
}

# A script begins with its interpreter, which is this prefix's where it has it.
sub rewrite {
    my ($path) = @_;
    my $file = original($path);
    open my $in, '<:raw', $file or die "$file: $!";
    my $first = <$in>;
    my ($program) = $first =~ m{^#!\s*/usr/bin/env\s+([^\s-][^\s]*)\s*$};
    my ($interpreter, $rest) = $first =~ m{^#!\s*((?:/usr)?/s?bin/[^\s]+)(.*)$};
    my $own;
    if (defined $program) { $own = "usr/bin/$program"; $rest = '' }
    elsif (defined $interpreter) { ($own) = map { s{^/(usr/)?}{usr/}r } $interpreter }
    if (!defined $own || !(-e "$out/$own" || -e "$prefix/$own")) { symlink $file, "$out/$path" or die "$out/$path: $!"; return }
    # A script whose place matters is a link into another folder: it stays there.
    my $place = place_of($file);
    if (defined $place) {
        spew("$out/$path", "#!$ENV{shell}\n", "exec '$out/$own' $rest '$place' \"\$@\"\n");
    } else {
        local $/;
        spew("$out/$path", "#!$out/$own$rest\n", scalar <$in>);
    }
    chmod 0755, "$out/$path";
}

# Where a script is that is a link into another folder.
sub place_of {
    my ($file) = @_;
    my $first = $file;
    while (defined(my $target = readlink $file)) {
        $file = $target =~ m{^/usr/} ? "$prefix$target" : $target =~ m{^/} ? $target : ($file =~ s{[^/]*$}{}r) . $target;
        # By way of a member's folder.
        1 while $file =~ s{/[^/]+/\.\./}{/};
        if ($file =~ m{^\Q$prefix\E/\.berth/m/(\d+)/(.*)$}) { $file = readlink("$prefix/.berth/m/$1") . "/$2" }
    }
    my ($inside) = $file =~ m{^/nix/store/[^/]+/(usr/.*)$};
    return undef if !defined $inside || $inside =~ m{^usr/s?bin/[^/]+$};
    return -e "$out/$inside" ? "$out/$inside" : $file;
}

# --- Which programs are the package's own ---

# $membersPath has one line a member: path, name, whether it was asked for, what it needs. Beside those that were asked for,
# those are its own whose names begin with one of theirs, and, for a package that only points to others, those others.
sub link_own {
    my (%member, @queue, %seen, %linked);
    for (slurp($ENV{membersPath})) {
        my ($path, $name, $named, @needs) = split ' ';
        $member{$name} = { path => $path, needs => \@needs };
        push @queue, $name if $named;
    }
    my @asked = @queue;
    for my $name (sort keys %member) {
        push @queue, $name if grep { $name =~ /^\Q$_\E[-.\d]/ } @asked;
    }
    while (defined(my $name = shift @queue)) {
        next if $seen{$name}++ || !$member{$name};
        my $found = 0;
        for my $folder ('usr/bin', 'usr/sbin') {
            my @programs = -d "$member{$name}{path}/$folder" ? list("$member{$name}{path}/$folder") : ();
            push @programs, map { m{^(?:slave )?/$folder/(\S+)} ? $1 : () } slurp("$member{$name}{path}/.berth/alternatives");
            for my $program (@programs) {
                next if $linked{$program}++ || !(-e "$out/$folder/$program" || -l "$out/$folder/$program");
                $found = 1;
                symlink "../$folder/$program", "$out/bin/$program" or die "$out/bin/$program: $!";
                # Programs look at their own name, so they are told the plain one.
                for my $other ("bin/$program\@$ENV{wanted}", "named/bin/$program\@$ENV{wanted}") {
                    spew("$out/$other", "#!$ENV{shell}\nexec '$out/bin/$program' \"\$@\"\n");
                    chmod 0755, "$out/$other";
                }
            }
        }
        push @queue, @{ $member{$name}{needs} } if !$found && grep { $_ eq $name } @asked;
    }
    return if %linked;
    die "$ENV{package} of $ENV{suite} has no programs: libraries and headers of two suites can't live together in one /usr. "
      . "Lock the whole environment to $ENV{suite} instead.\n";
}

# --- Files and paths ---

# What a file is: `program` (ELF with a loader), `script`, or `other`.
sub kind_of {
    my ($file) = @_;
    return 'other' unless -f $file && -x _;
    open my $handle, '<:raw', $file or return 'other';
    read $handle, my $head, 64;
    return 'script' if substr($head, 0, 2) eq '#!';
    # 64-bit, little-endian, of type executable or shared object: elf(5).
    return 'other' unless length $head == 64 && substr($head, 0, 6) eq "\x7fELF\x02\x01";
    my ($offset, $size, $count) = (unpack('Q<', substr $head, 32, 8), unpack('S<', substr $head, 54, 2), unpack('S<', substr $head, 56, 2));
    for my $index (0 .. $count - 1) {
        seek $handle, $offset + $index * $size, 0;
        read $handle, my $type, 4;
        return 'program' if unpack('L<', $type) == 3;
    }
    return 'other';
}

sub words { return grep { $_ ne '' } split /\s+/, $_[0] // '' }

sub slurp {
    my ($file) = @_;
    open my $handle, '<', $file or return;
    my @lines = <$handle>;
    chomp @lines;
    return @lines;
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<:raw', $file or die "$file: $!";
    local $/;
    return scalar <$handle>;
}

sub spew {
    my ($file, @text) = @_;
    open my $handle, '>:raw', $file or die "$file: $!";
    print $handle @text;
    close $handle or die "$file: $!";
}

sub list {
    my ($folder) = @_;
    opendir my $handle, $folder or return;
    return grep { $_ ne '.' && $_ ne '..' } readdir $handle;
}

sub copy {
    my ($from, $to) = @_;
    open my $in, '<:raw', $from or die "$from: $!";
    open my $file, '>:raw', $to or die "$to: $!";
    my $buffer;
    while (my $count = sysread $in, $buffer, 1 << 20) { print $file $buffer }
    close $file or die "$to: $!";
}

sub relative {
    my ($from, $to) = @_;
    my @from = split m{/}, $from;
    my @to = split m{/}, $to;
    while (@from > 1 && @to > 1 && $from[0] eq $to[0]) { shift @from; shift @to }
    return join '/', ('..') x (@from - 1), @to;
}
