#!/bin/bash
# For bash scripts that need the machine's packages, an unprivileged user and a PostgreSQL of their
# own, and leave nothing behind. Sourced by test/run, doc/demo/run and .ci/run.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# debian_postgresql prints the major version of PostgreSQL that this release of Debian has.
debian_postgresql()
{
	local VERSION_ID=
	. /etc/os-release
	case $VERSION_ID in
		11) echo 13 ;;
		12) echo 15 ;;
		13) echo 17 ;;
		*) echo 18 ;;
	esac
}

# The version whose packages are installed, and whose pg_config is used unless PG_CONFIG names
# one. It is found by path, since the pg_config in PATH may be that of another version.
PG_MAJOR=${PG_MAJOR:-$(debian_postgresql)}
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$PG_MAJOR/bin/pg_config}
export PG_MAJOR PG_CONFIG

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "installing packages needs root or sudo: $*"
	fi
}

# missing_packages GROUP... prints the packages of these groups that are not installed.
missing_packages()
{
	local group package _
	while read -r group package _; do
		[[ " $* " == *" $group "* ]] || continue
		package=${package/PG_MAJOR/$PG_MAJOR}
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done <"$top/.ci/packages"
}

apt_get()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# apt_install PACKAGE... updates the package lists first where they are empty, or too old to be of
# use.
apt_install()
{
	apt_get -s install "$@" >/dev/null 2>&1 || apt_get update || return 1
	apt_get install -y --no-install-recommends "$@" >/dev/null ||
		{ apt_get update && apt_get install -y --no-install-recommends "$@" >/dev/null; }
}

# install_packages GROUP... does nothing, and needs no network, if all packages are installed.
install_packages()
{
	local missing drop_in=/etc/postgresql-common/createcluster.d/pg_notifyd.conf policy=/usr/sbin/policy-rc.d
	mapfile -t missing < <(missing_packages "$@" | sort -u)
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || die "these packages are missing, and there is no apt-get: ${missing[*]}"
	echo "Installing ${missing[*]}"

	# Otherwise the server's package would create and start a cluster on port 5432.
	as_root sh -c "mkdir -p $(dirname "$drop_in") && echo 'create_main_cluster = false' >$drop_in"
	# And those of the proxies would start them.
	[ ! -e $policy ] || policy=
	[ -z "$policy" ] || as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
	apt_install "${missing[@]}"
	local status=$?
	[ -z "$policy" ] || as_root rm -f "$policy"
	as_root sh -c "rm -f $drop_in; rmdir --ignore-fail-on-non-empty $(dirname "$drop_in")"
	[ $status -eq 0 ] || die "apt-get could not install ${missing[*]}"
}

# copy_tree DIR copies the sources, without build results and the files of git.
copy_tree()
{
	mkdir -p "$1"
	tar -C "$top" --exclude=./.git --exclude=./build --exclude=./build-deb --exclude=./log --exclude='*.o' --exclude='*.d' \
		--exclude='*.so' --exclude=tmp_check -cf - . | tar -C "$1" -xf - --no-same-owner
}

# private_install SOURCE DIR installs what SOURCE has built into a copy of the PostgreSQL that
# PG_CONFIG belongs to, below DIR, and points PG_CONFIG and PATH there. PostgreSQL finds its files
# relative to its programs, so these are copied; the rest are links.
private_install()
{
	local source=$1 dir=$2 bin share lib
	bin=$("$PG_CONFIG" --bindir) share=$("$PG_CONFIG" --sharedir) lib=$("$PG_CONFIG" --pkglibdir)
	if [ ! -x "$bin/postgres" ] || [ ! -d "$share/extension" ] || [ ! -d "$lib/pgxs" ]; then
		echo "PG_CONFIG=$PG_CONFIG names no PostgreSQL with server and PGXS" >&2
		return 1
	fi
	make -s -C "$source" install DESTDIR="$dir" || return 1
	mkdir -p "$dir$bin" "$dir$share" "$dir$lib"
	cp -rn "$bin/." "$dir$bin/" && cp -rsn "$share/." "$dir$share/" && cp -rsn "$lib/." "$dir$lib/" || return 1
	PG_CONFIG=$dir$bin/pg_config
	PATH=$dir$bin:$PATH
}

# stop_servers DIR stops every postmaster whose data directory is below DIR, and waits for its end.
stop_servers()
{
	local file pid
	find "$1" -name postmaster.pid 2>/dev/null | while read -r file; do
		pid=$(head -n 1 "$file" 2>/dev/null) || continue
		kill -QUIT "$pid" 2>/dev/null
		timeout 30 tail --pid="$pid" -f /dev/null
	done
}

# free_port [PORT] prints PORT if nobody listens there on the loopback addresses, else another one.
free_port()
{
	perl -MIO::Socket::IP -e '
		for my $port (@ARGV, 0)
		{
			my $v4 = IO::Socket::IP->new(LocalHost => "127.0.0.1", LocalPort => $port, Listen => 1) or next;
			my $v6 = IO::Socket::IP->new(LocalHost => "::1", LocalPort => $v4->sockport, Listen => 1);
			next if !$v6 && $!{EADDRINUSE};
			print $v4->sockport, "\n";
			exit 0;
		}
		exit 1;' -MErrno "$@"
}

# supervise DIR COMMAND... runs COMMAND as a user that PostgreSQL accepts (postgres instead of
# root), who is given DIR; passes a signal on to it, and returns its status. Should this process be
# killed, COMMAND gets a SIGTERM too.
supervise()
{
	local dir=$1 status child run=(setpriv --pdeathsig TERM)
	shift
	if [ "$(id -u)" -eq 0 ]; then
		chown -R postgres: "$dir"
		run+=(--reuid postgres --regid postgres --init-groups)
	fi
	HOME=$dir "${run[@]}" "$@" </dev/null &
	child=$!
	trap 'kill -TERM $child 2>/dev/null' INT TERM HUP PIPE
	# A trapped signal interrupts wait; the child continues.
	while wait "$child"; status=$?; kill -0 "$child" 2>/dev/null; do :; done
	trap - INT TERM HUP PIPE
	return "$status"
}
