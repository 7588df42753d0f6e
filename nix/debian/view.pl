# Makes the FHS view: $out with usr/, etc/ and the links bin, sbin, lib*, in which every file of every member is found
# under its own name. Run by perl-base in Nix's sandbox; uses no module but strict and warnings.
#
# - A folder that one member alone has becomes one link to it; a folder of several is made and filled.
# - A link inside a package stays the link that it is, so that it leads to where the view says.
# - Where several members have the same file, one that the config names goes before others, then the first by name.
# - Alternatives are what update-alternatives would have chosen: a member that the config names, then the highest priority.
use strict;
use warnings;

my $out = $ENV{out};
my (@members, %explicit);
for (slurp($ENV{membersPath})) {
    my ($path, $name, $named) = split ' ';
    push @members, { path => $path, name => $name, explicit => $named };
}
@members = sort { $b->{explicit} <=> $a->{explicit} || $a->{name} cmp $b->{name} } @members;

my @omitted = map { glob_to_regex($_) } words($ENV{omitted});
my @copied = map { glob_to_regex($_) } words($ENV{copied}), words($ENV{copiedWhereMerged});
my %real = map { $_ => 1 } qw(usr etc usr/bin usr/sbin usr/lib usr/share etc/alternatives);

# --- What the members' .berth folders say ---

my (%alternatives, @user_lines);
for my $index (0 .. $#members) {
    my $member = $members[$index];
    push @user_lines, slurp("$member->{path}/.berth/users");
    my $master;
    for (slurp("$member->{path}/.berth/alternatives")) {
        my ($slave) = s/^slave // ? 1 : 0;
        my ($link, $name, $target, $priority) = split ' ';
        next unless defined $target;
        my $entry = { link => tidy($link), name => $name, target => tidy($target), slaves => [] };
        if ($slave) { push @{ $master->{slaves} }, $entry if $master; next }
        $master = { %$entry, priority => $priority // 0, explicit => $member->{explicit}, member => $index };
        push @{ $alternatives{$name} }, $master;
    }
}

my @links;    # [ path in the view, path that it leads to ]
for my $name (sort keys %alternatives) {
    my @choices = grep { present($_->{target}) } @{ $alternatives{$name} };
    my ($best) = sort {
             $b->{explicit} <=> $a->{explicit}
          || $b->{priority} <=> $a->{priority}
          || $a->{target} cmp $b->{target}
    } @choices;
    next unless $best;
    for my $entry ($best, grep { present($_->{target}) } @{ $best->{slaves} }) {
        push @links, [ "etc/alternatives/$entry->{name}", $entry->{target} ], [ $entry->{link}, $entry->{target} ];
        make_real_above($entry->{link});
    }
}

# Folders that hold copied files must be made, which is known by their patterns.
for my $pattern (words($ENV{copied})) {
    for my $index (0 .. $#members) {
        for my $file (glob "$members[$index]{path}/$pattern") {
            make_real_above(substr $file, length("$members[$index]{path}/"));
        }
    }
}

# --- The merge ---

my @top = grep { !/^(\.|bin$|sbin$|lib|boot$|dev$|proc$|sys$|run$|tmp$|home$|root$|mnt$|media$)/ } entries_of('');
make_folder($_) for '', '/.berth', '/.berth/m';
symlink $members[$_]{path}, "$out/.berth/m/$_" or die "$out/.berth/m/$_: $!" for 0 .. $#members;
for my $name (@top) {
    merge_entry($name, grep { lstat "$members[$_]{path}/$name" } 0 .. $#members);
}

sub merge_entry {
    my ($path, @providers) = @_;
    return if grep { $path =~ $_ } @omitted;
    my @folders = grep { my $at = "$members[$_]{path}/$path"; !-l $at && -d _ } @providers;
    if (!@folders) { place($path, $providers[0]); return }
    if (@folders == 1 && !$real{$path}) {
        link_to($folders[0], $path);
        return;
    }
    mkdir "$out/$path" or die "$out/$path: $!";
    my %by_name;
    for my $index (@folders) {
        push @{ $by_name{$_} }, $index for list("$members[$index]{path}/$path");
    }
    merge_entry("$path/$_", @{ $by_name{$_} }) for sort keys %by_name;
}

sub place {
    my ($path, $index) = @_;
    my $source = "$members[$index]{path}/$path";
    my $target = readlink $source;
    if (defined $target) {
        symlink $target, "$out/$path" or die "$out/$path: $!";
    } elsif ((grep { $path =~ $_ } @copied) || is_self_located($path, $source)) {
        copy($source, "$out/$path");
    } else {
        link_to($index, $path);
    }
}

# Whether a program looks for its libraries beside where it really is. Asked only where its folder is made of several
# members, since otherwise they lie in the same one; and not in /usr/bin, where the libraries are its own package's.
sub is_self_located {
    my ($path, $file) = @_;
    return 0 if $path !~ m{^(usr/lib/|usr/libexec/|opt/)} || $path =~ /\.so\b/ || !-x $file || -s _ > 50_000_000;
    return 0 unless is_elf($file);
    open my $handle, '<:raw', $file or return 0;
    local $/;
    return index(<$handle>, '$ORIGIN') >= 0;
}

# --- What the packages' scripts would have made ---

for my $directory (qw(bin sbin lib lib32 lib64 libx32)) {
    symlink "usr/$directory", "$out/$directory" if -d "$out/usr/$directory";
}
for (@links) {
    my ($link, $target) = @$_;
    make_parents($link);
    next if -e "$out/$link" || -l "$out/$link";
    symlink relative($link, $target), "$out/$link" or die "$out/$link: $!";
}
write_users() if -e "$out/usr/share/base-passwd/passwd.master";
write_environment();
wrap_programs() unless $ENV{base};

# etc/passwd and etc/group: Debian's own, and the users and groups that the packages would have made.
sub write_users {
    my @passwd = slurp("$out/usr/share/base-passwd/passwd.master");
    my @group = slurp("$out/usr/share/base-passwd/group.master");
    s/^([^:]*):\*:/$1:x:/ for @passwd, @group;
    s/^(root:.*):[^:]*$/$1:\/bin\/bash/ for @passwd;
    my %uid = map { my @f = split /:/; ($f[0] => $f[2]) } @passwd;
    my %gid = map { my @f = split /:/; ($f[0] => $f[2]) } @group;
    my (%users, %groups);
    for (@user_lines) {
        my ($program, @words) = split /\t/;
        my (%option, @names);
        while (@words) {
            my $word = shift @words;
            if ($word =~ /^--?(home|shell|gecos|comment|ingroup|gid|uid|home-dir|d|s|g|u|c|firstuid|lastuid)$/) {
                $option{$1} = shift @words;
            } elsif ($word =~ /^--(home|shell|gecos|comment|ingroup|gid|uid|home-dir)=(.*)$/) {
                $option{$1} = $2;
            } elsif ($word !~ /^-/) {
                push @names, $word;
            } elsif ($word eq '--group') {
                $option{own} = 1;
            }
        }
        my $name = $names[0];
        next unless defined $name && $name =~ /^[a-z_][a-z0-9_.-]*$/i;
        if ($program =~ /group/ || ($program eq 'adduser' && @names > 1)) {
            # `adduser USER GROUP` adds a user to a group, which needs no entry of its own.
            $groups{$name} = 1 if $program =~ /group/;
            next;
        }
        $users{$name} = {
            home => $option{home} // $option{'home-dir'} // $option{d} // '/nonexistent',
            shell => $option{shell} // $option{s} // '/usr/sbin/nologin',
            gecos => $option{gecos} // $option{comment} // $option{c} // '',
            group => $option{ingroup} // $option{gid} // $option{g} // $name,
        };
    }
    for my $file (glob "$out/usr/lib/sysusers.d/*.conf") {
        for (slurp($file)) {
            next unless /^([ug])!?\s+(\S+)\s+(\S+)(?:\s+(?:"([^"]*)"|(\S+)))?(?:\s+(\S+))?(?:\s+(\S+))?/;
            my ($type, $name, $gecos, $home, $shell) = ($1, $2, $4 // $5 // '', $6 // '/', $7 // '/usr/sbin/nologin');
            $home = '/' if $home eq '-';
            $shell = '/usr/sbin/nologin' if $shell eq '-';
            $gecos = '' if $gecos eq '-';
            if ($type eq 'g') { $groups{$name} = 1 }
            else { $users{$name} //= { home => $home, shell => $shell, gecos => $gecos, group => $name } }
        }
    }
    my %taken = map { $_ => 1 } values %uid, values %gid;
    # A user's number comes from its name, so that it stays the same when other packages come and go.
    my $number = sub {
        my ($name) = @_;
        my $hash = 0;
        $hash = ($hash * 31 + ord) % 1_000_003 for split //, $name;
        my $id = 100 + $hash % 800;
        $id = $id == 899 ? 100 : $id + 1 while $taken{$id};
        $taken{$id} = 1;
        return $id;
    };
    for my $name (sort { $a cmp $b } keys %groups) {
        next if exists $gid{$name};
        $gid{$name} = $users{$name} && !exists $uid{$name} ? ($uid{$name} = $number->($name)) : $number->($name);
        push @group, "$name:x:$gid{$name}:";
    }
    my %known = map { (split /:/)[0] => 1 } @passwd;
    for my $name (sort keys %users) {
        next if $known{$name};
        my $user = $users{$name};
        $uid{$name} //= $number->($name);
        if (!exists $gid{ $user->{group} } && $user->{group} eq $name) {
            $gid{$name} = $uid{$name};
            push @group, "$name:x:$gid{$name}:";
        }
        my $group = $gid{ $user->{group} } // ($user->{group} =~ /^\d+$/ ? $user->{group} : 65534);
        push @passwd, "$name:x:$uid{$name}:$group:$user->{gecos}:$user->{home}:$user->{shell}";
    }
    spew("$out/etc/passwd", map { "$_\n" } @passwd) unless -e "$out/etc/passwd";
    spew("$out/etc/group", map { "$_\n" } @group) unless -e "$out/etc/group";
    my @nss = map { "$_\n" } 'passwd: files', 'group: files', 'shadow: files', 'hosts: files dns', 'networks: files',
      'protocols: files', 'services: files', 'ethers: files', 'rpc: files';
    spew("$out/etc/nsswitch.conf", @nss) unless -e "$out/etc/nsswitch.conf";
}

# What stdenv/setup reads. $berthRoot is the view, or nothing where /usr leads to it.
sub write_environment {
    my @lines = ('berthLibraries="' . join(':', map { "\$berthRoot/$_" } library_folders()) . "\"\n");
    my @folders = map { substr $_, length "$out/" } map { sort glob "$out/$_" } words($ENV{path});
    push @lines, join('', 'PATH="', (map { "\$berthRoot/$_:" } @folders), "\$PATH\"\n") if @folders;
    for (split /\n/, $ENV{variables}) {
        my ($name, $pattern) = split ' ';
        my ($found) = grep { -e || -l } sort glob "$out/$pattern";
        next unless $found;
        push @lines, "$name=\"\$berthRoot/" . substr($found, length "$out/") . "\"\nexport $name\n";
    }
    # Folders of libraries beside the loader's own: there is no ld.so.cache to name them.
    my @libraries;
    for my $file (sort glob "$out/etc/ld.so.conf.d/*.conf") {
        next if $file =~ m{/(libc|x86_64-linux-gnu|aarch64-linux-gnu)\.conf$};
        push @libraries, grep { m{^/usr/} && -d "$out$_" } slurp($file);
    }
    if (@libraries) {
        my $text = join ':', map { "\$berthRoot$_" } @libraries;
        push @lines, "LD_LIBRARY_PATH=\"$text\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}\"\nexport LD_LIBRARY_PATH\n";
    }
    spew("$out/.berth/environment", @lines);
}

# Where libraries lie, for programs whose loader looks in another /usr: the loader's own folder, and those below it that
# packages name in RUNPATHs or give to the loader's cache.
sub library_folders {
    my %folders;
    for (glob "$out/usr/lib/$ENV{triplet}/*/lib*.so $out/usr/lib/$ENV{triplet}/*/lib*.so.*") {
        s{/[^/]*$}{};
        $folders{ substr $_, length "$out/" } = 1;
    }
    return ("usr/lib/$ENV{triplet}", sort keys %folders);
}

# Programs of a prefix that no /usr leads to find their libraries by LD_LIBRARY_PATH: usr/bin/NAME becomes a script, and
# the program is .berth/wrapped/bin/NAME, beside which lib and share are as they are beside usr/bin.
sub wrap_programs {
    make_folder($_) for '/.berth/wrapped', '/.berth/wrapped/bin', '/.berth/wrapped/sbin';
    for (qw(lib libexec share include)) { symlink "../../usr/$_", "$out/.berth/wrapped/$_" if -e "$out/usr/$_" }
    my $libraries = join ':', map { "$out/$_" } library_folders();
    for my $folder (qw(bin sbin)) {
        for my $name (-d "$out/usr/$folder" ? sort(list("$out/usr/$folder")) : ()) {
            my ($file, $moved) = ("$out/usr/$folder/$name", "$out/.berth/wrapped/$folder/$name");
            next unless is_elf($file);
            my $target = readlink $file;
            if (defined $target) {
                $target =~ s{^(\.\./)+\.berth/m/}{../../m/};
                symlink $target, $moved or die "$moved: $!";
                unlink $file or die "$file: $!";
            } else {
                rename $file, $moved or die "$moved: $!";
            }
            spew($file, "#!$ENV{shell}\nexport LD_LIBRARY_PATH=\"$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}\"\n",
                "exec \"$moved\" \"\$@\"\n");
            chmod 0755, $file;
        }
    }
}

sub is_elf {
    my ($file) = @_;
    return 0 unless -f $file;
    open my $handle, '<:raw', $file or return 0;
    read $handle, my $text, 4;
    return $text eq "\x7fELF";
}

# --- Files and paths ---

sub words { return grep { $_ ne '' } split /\s+/, $_[0] // '' }

sub slurp {
    my ($file) = @_;
    open my $handle, '<', $file or return;
    my @lines = <$handle>;
    chomp @lines;
    return @lines;
}

sub spew {
    my ($file, @text) = @_;
    open my $handle, '>', $file or die "$file: $!";
    print $handle @text;
    close $handle or die "$file: $!";
}

sub list {
    my ($folder) = @_;
    opendir my $handle, $folder or die "$folder: $!";
    return grep { $_ ne '.' && $_ ne '..' } readdir $handle;
}

sub entries_of {
    my ($path) = @_;
    my %names;
    for (@members) { $names{$_} = 1 for list("$_->{path}/$path") }
    return sort keys %names;
}

sub make_folder { mkdir "$out$_[0]" or die "$out$_[0]: $!" }

sub copy {
    my ($from, $to) = @_;
    open my $in, '<:raw', $from or die "$from: $!";
    open my $file, '>:raw', $to or die "$to: $!";
    my $buffer;
    while (my $count = sysread $in, $buffer, 1 << 20) { print $file $buffer }
    close $file or die "$to: $!";
    chmod 0755, $to if -x $from;
}

# A link by way of .berth/m/<number>: file systems keep a target under 60 bytes in the inode, and a link with a longer
# one takes several times as long to make. Store paths alone are longer.
sub link_to {
    my ($index, $path) = @_;
    my $up = '../' x ($path =~ tr{/}{});
    symlink "$up.berth/m/$index/$path", "$out/$path" or die "$out/$path: $!";
}

sub present {
    my ($path) = @_;
    for (@members) { return 1 if lstat "$_->{path}/$path" }
    return 0;
}

sub make_real_above {
    my ($path) = @_;
    while ($path =~ s{/[^/]*$}{}) { last if $real{$path}++ }
    # Parents of a folder that is made are made too; the loop ends early only where they were marked before.
    return;
}

sub make_parents {
    my ($path) = @_;
    my $at = $out;
    my @parts = split m{/}, $path;
    pop @parts;
    for (@parts) { $at .= "/$_"; -d $at or mkdir $at or die "$at: $!" }
}

# /bin/x -> usr/bin/x: as the merged /usr has it.
sub tidy {
    my ($path) = @_;
    $path =~ s{/+}{/}g;
    $path =~ s{^/}{};
    $path =~ s{^(bin|sbin|lib|lib32|lib64|libx32)/}{usr/$1/};
    return $path;
}

sub relative {
    my ($from, $to) = @_;
    my @from = split m{/}, $from;
    my @to = split m{/}, $to;
    while (@from > 1 && @to > 1 && $from[0] eq $to[0]) { shift @from; shift @to }
    return join '/', ('..') x (@from - 1), @to;
}

sub glob_to_regex {
    my ($glob) = @_;
    my $regex = join '', map { $_ eq '*' ? '[^/]*' : /^\[.*\]$/ ? $_ : quotemeta } split /(\*|\[[^\]]*\])/, $glob;
    return qr/^$regex$/;
}
