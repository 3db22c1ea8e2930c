#!/bin/bash
# kinds.sh WORK KIND...: the unprivileged part of test/run. Builds in WORK/tree, logs to WORK/log,
# and writes the closing line to WORK/total.
set -u
work=$1
shift
. "$work/tree/test/lib/private.sh"

tree=$work/tree
log=$work/log
mkdir -p "$log" "$work/tmp"
cd "$tree" || exit 1
shopt -s nullglob

# Some tests open more connections than a login's soft limit has descriptors.
ulimit -n "$(ulimit -Hn)"

given_pg_config=$PG_CONFIG
pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
unset LC_ALL PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGSERVICE PGDATA PGOPTIONS
export LANG=C.UTF-8 TZ=UTC
export TMPDIR=$work/tmp TESTDIR=$tree TESTDATADIR=$tree/tmp_check TESTLOGDIR=$tree/tmp_check/log
export PG_REGRESS=$pgxs/src/test/regress/pg_regress
export PERL5LIB=$tree/test/lib:$pgxs/src/test/perl
passed=0
failed=0

trap 'trap "" INT TERM HUP PIPE; kill $(jobs -p) 2>/dev/null; stop_servers "$work"' EXIT
trap 'exit 143' INT TERM HUP PIPE

# limited SECONDS COMMAND... ends a command that hangs, and lets a signal interrupt the wait for it.
limited()
{
	timeout --kill-after=10 "$@" </dev/null &
	wait $!
}

# Print the failures from a log of TAP, pg_regress or the compiler.
show_failure()
{
	echo "--- ${1##*/}"
	grep -A 12 '^not ok' "$1" | head -n 100 | cut -c 1-500
	sed -n '/^Test Summary Report/,$p; /^diff /,$p' "$1" | head -n 200
	grep -qE '^(not ok|Test Summary Report|diff )' "$1" || tail -n 40 "$1"
}

# count KIND PASSED FAILED
count()
{
	passed=$((passed + $2))
	failed=$((failed + $3))
	echo "$1: $2 passed, $3 failed"
	[ "$3" -eq 0 ] || show_failure "$log/$1.log"
}

# Build and install privately. Afterwards PG_CONFIG is that of the private installation.
build()
{
	limited 600 make -s -j2 WERROR=1 all unit-tests >"$log/build.log" 2>&1 &&
		private_install "$tree" "$work/install" >>"$log/build.log" 2>&1
}

# A cluster for pg_regress, with the library preloaded and a port of its own for the gateway.
start_cluster()
{
	[ ! -e "$work/data/postmaster.pid" ] || return 0
	initdb -D "$work/data" -U postgres -A trust -N || return 1
	cat >>"$work/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$work'
		fsync = off
		max_prepared_transactions = 2
		shared_preload_libraries = 'pg_notifyd'
		pg_notifyd.port = $(free_port 7432)
	CONF
	pg_ctl -D "$work/data" -l "$log/postgresql.log" -w start
}

# regress KIND OTHER: the tests of one kind, with the other kind's list emptied.
regress()
{
	local good bad output=$log/$1.log
	start_cluster >"$output" 2>&1 &&
		limited 900 make installcheck "$2=" PG_CONFIG="$PG_CONFIG" \
			EXTRA_REGRESS_OPTS="--host=$work --port=5432 --user=postgres" >>"$output" 2>&1
	# pg_regress speaks TAP from PostgreSQL 16 on.
	good=$(grep -cE '^(test .*\.\.\. ok|ok [0-9]+ )' "$output")
	bad=$(grep -cE '^(test .*\.\.\. FAILED|not ok [0-9]+ )' "$output")
	[ $((good + bad)) -gt 0 ] || bad=1
	cp -r results "$log/regress-results" 2>/dev/null
	cp -r output_iso/results "$log/isolation-results" 2>/dev/null
	find . -name regression.diffs -exec cat {} \; -delete >>"$output"
	count "$1" "$good" "$bad"
}

# PostgreSQL::Test::Utils logs why a Perl script died.
show_deaths()
{
	local file
	for file in "$log/servers"/regress_log_*; do
		grep -q 'Looks like your test exited' "$file" 2>/dev/null && tail -n 20 "$file" | cut -c 1-2000
	done
}

# tap KIND FILE...: Perl scripts and programs that speak TAP.
tap()
{
	local kind=$1 good=0 bad=1
	shift
	echo "no tests" >"$log/$kind.log"
	if [ $# -gt 0 ]; then
		CMOCKA_MESSAGE_OUTPUT=TAP limited 1500 perl test/lib/tap-run "$work/$kind.count" "$@" >"$log/$kind.log" 2>&1
		[ ! -s "$work/$kind.count" ] || read -r good bad <"$work/$kind.count"
	fi
	count "$kind" "$good" "$bad"
	mkdir -p "$log/servers"
	[ ! -d tmp_check/log ] || cp -r tmp_check/log/. "$log/servers"
	[ "$bad" -eq 0 ] || show_deaths
}

# unit_programs DIR sets programs to the unit tests as built below DIR.
unit_programs()
{
	programs=(test/unit/test_*.c)
	programs=("${programs[@]#test/}")
	programs=("${programs[@]/#/$1/}")
	programs=("${programs[@]%.c}")
}

# The gateway's own tests and the unit tests once more, with the address and undefined behaviour
# sanitizers.
sanitized()
{
	if limited 600 make -s -j2 WERROR=1 SANITIZE=1 BUILD=build-asan build-asan/pg_notifyd-gateway unit-tests \
		>"$log/gateway.log" 2>&1; then
		export PG_NOTIFYD_GATEWAY=$tree/build-asan/pg_notifyd-gateway
		unit_programs build-asan
		tap gateway "${programs[@]}" test/gateway/*.t
	else
		count gateway 0 1
	fi
}

# Run the fault checker for about a minute; test/faults/run runs it longer, and with planted faults.
# It builds with fail points against the given PostgreSQL, because the private copy has no headers.
faults()
{
	local good=0 bad=1
	mkdir -p "$work/faults"
	ln -s "$tree" "$work/faults/tree"
	PG_CONFIG=$given_pg_config SEED=1 SEEDS=100 EVENTS=300000 JOBS=1 BOUND=45 limited 300 test/faults/kind \
		"$work/faults" >"$log/faults.log" 2>&1
	[ ! -s "$work/faults/total" ] || read -r good _ bad _ <"$work/faults/total"
	[ ! -d "$work/faults/keep" ] || cp -r "$work/faults/keep" "$log/faults"
	count faults "$good" "$bad"
}

# Compare sets of random clients with what SELECT returns, for less than a minute; test/sets/run does
# it for longer, and with planted faults.
sets()
{
	local good=0 bad=1
	mkdir -p "$work/sets/build"
	ln -s "$tree" "$work/sets/tree"
	ln -s "$(dirname "$PG_CONFIG")" "$work/sets/build/bin"
	BUILD=$work/sets/build SEED=1 SEEDS=1000 BOUND=40 OPTIONS='--until-bad' limited 300 test/sets/kind "$work/sets" \
		>"$log/sets.log" 2>&1
	[ ! -s "$work/sets/total" ] || read -r good _ bad _ <"$work/sets/total"
	[ ! -d "$work/sets/keep" ] || cp -r "$work/sets/keep" "$log/sets"
	count sets "$good" "$bad"
}

run_kind()
{
	case $1 in
		regress) regress regress ISOLATION ;;
		isolation) regress isolation REGRESS ;;
		unit) unit_programs build && tap unit "${programs[@]}" ;;
		gateway) sanitized ;;
		faults) faults ;;
		sets) sets ;;
		tap) JOBS=$(nproc) tap tap test/t/*.pl ;;	# they mostly wait for servers
		browser) tap browser test/browser/*.pl ;;
		client) tap client test/client/*.pl ;;
	esac
}

if build; then
	for kind in "$@"; do
		run_kind "$kind"
	done
else
	count build 0 1
fi

echo "$passed passed, $failed failed" >"$work/total"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
