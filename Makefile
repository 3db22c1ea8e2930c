# pg_notifyd: the extension (PGXS), its gateway program, tests and demo.
#
#	make, make install, make uninstall		PG_CONFIG=... chooses the PostgreSQL
#	make installcheck						regression and isolation tests on a running server that preloads the library
#	make test, make test-KIND				everything on a fresh machine, see test/run
#	make test-packages						Debian packages in a chroot, see test/packages
#	make test-matrix						the same with other versions of PostgreSQL, see test/matrix
#	make faults								writes, kills and cuts at random, see test/faults/run
#	make sets								compares random clients' rows with SELECT, see test/sets/run
#	make fuzz								random input for the parsers that face the network, 60 seconds each;
#											TARGET=frames SECONDS=3600 chooses; needs clang
#	make bench, make bench-NAME				measures beside other ways and the limits, see bench/run
#	make demo								see doc/demo/run
#	make client								the client library, minified into client/client.js; needs esbuild
#	make deb								Debian packages into build-deb/, see debian/build
#	WERROR=1, CC=clang, SANITIZE=1			warnings are errors; another compiler; gateway and unit tests with ASan and UBSan
#	FAIL_POINTS=1							a library with places where tests make it fail, see src/ext/base/failpoint.h

EXTENSION = pg_notifyd
# Version of the library and the gateway, from the control file.
NOTIFYD_VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big = pg_notifyd
GATEWAY = pg_notifyd-gateway
DATA = $(wildcard sql/pg_notifyd--*.sql)
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/ext/*.c src/ext/*/*.c src/wire/*.c)))
REGRESS = $(patsubst sql/%.sql,%,$(filter-out $(DATA),$(sort $(wildcard sql/*.sql))))
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation

# Directory of everything that PGXS does not build: gateway, unit tests.
BUILD = build
EXTRA_CLEAN = build

PG_CONFIG = $(or $(shell command -v pg_config),$(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin/pg_config))),pg_config)
WARNINGS = -Wall -Wextra $(if $(WERROR),-Werror)
# PGXS passes the options that PostgreSQL was compiled with, some of which only gcc knows.
ifneq ($(findstring clang,$(CC)),)
WARNINGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

# -isystem suppresses warnings about PostgreSQL's headers.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -Isrc $(if $(FAIL_POINTS),-DNOTIFYD_FAIL_POINTS) \
	-DNOTIFYD_VERSION='"$(NOTIFYD_VERSION)"'
# -fno-plt: calls do not go through the procedure linkage table. With many backends on few cores,
# every touched cache line of code counts.
PG_CFLAGS = $(WARNINGS) -MMD -MP -fno-plt

# JIT compilation never inlines our functions, so the bitcode is not needed, and neither is clang.
override with_llvm = no

# Flags from the caller's environment or command line apply to the gateway too. PGXS replaces them by
# those that PostgreSQL was compiled with.
given = $(if $(filter environment command,$(firstword $(origin $1))),$($1))
GIVEN_CFLAGS := $(call given,CFLAGS)
GIVEN_CPPFLAGS := $(call given,CPPFLAGS)
GIVEN_LDFLAGS := $(call given,LDFLAGS)

# These targets must work without a pg_config.
ifneq ($(filter-out deb test test-% faults sets bench bench-% demo client,$(or $(MAKECMDGOALS),all)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error PG_CONFIG=$(PG_CONFIG) does not run: install postgresql-server-dev-NN, or set PG_CONFIG)
endif
include $(PGXS)
endif

# OpenSSL verifies tokens, and checks the gateways' certificate.
SHLIB_LINK += -lssl -lcrypto

# Export only what PostgreSQL looks up by name, to avoid conflicts with symbols of other libraries.
EXPORTS = $(BUILD)/exports.map
SHLIB_LINK += -Wl,--version-script=$(EXPORTS)

$(MODULE_big).so: $(EXPORTS)

$(OBJS): $(EXTENSION).control

$(EXPORTS): $(OBJS)
	@mkdir -p $(@D)
	@{ echo '{ global: _PG_init; Pg_magic_func; pg_finfo_*; *_main;'; \
	   nm -g --defined-only $(OBJS) | sed -n 's/.* T pg_finfo_\(.*\)/\1;/p'; \
	   echo 'local: *; };'; } > $@

# The gateway
GATEWAY_OBJS = $(patsubst src/%.c,$(BUILD)/%.o,$(sort $(wildcard src/gateway/*.c src/gateway/*/*.c src/wire/*.c))) \
	$(BUILD)/gateway/assets.o
NET_LIBS = libuv jansson libwebsockets libseccomp libssl libcrypto zlib
NET_CFLAGS = $(shell pkg-config --cflags $(NET_LIBS))
NET_LDLIBS = $(shell pkg-config --libs $(NET_LIBS))
NET_OPT = $(if $(SANITIZE),-O1 -fsanitize=address$(comma)undefined -fno-sanitize-recover=all,\
	-O2 $(if $(findstring FORTIFY,$(GIVEN_CPPFLAGS)),,-D_FORTIFY_SOURCE=2))
NET_COMPILE = $(CC) -std=gnu11 -g -D_GNU_SOURCE -Isrc $(NET_CFLAGS) $(NET_OPT) -fPIE -fno-omit-frame-pointer \
	-fstack-protector-strong -Wmissing-prototypes -Wpointer-arith -Wformat=2 $(GIVEN_CPPFLAGS) $(GIVEN_CFLAGS) \
	$(WARNINGS) -MMD -MP $(COPT)
NET_LINK = $(CC) $(NET_OPT) $(GIVEN_CFLAGS) -pie -Wl,-z,relro,-z,now $(GIVEN_LDFLAGS)
comma = ,

all: $(BUILD)/$(GATEWAY)

$(BUILD)/$(GATEWAY): $(GATEWAY_OBJS)
	$(NET_LINK) -o $@ $^ $(NET_LDLIBS)

# The files that the gateway serves are compiled into it.
ASSETS = client/client.js client/pg_notifyd.js $(addprefix client/page/,page.html page.css \
	dom.js rows.js table.js frames.js panel.js code.js calls.js page.js)

$(BUILD)/gateway/assets.c: client/page/embed $(ASSETS)
	@mkdir -p $(@D)
	client/page/embed $(ASSETS) >$@.new
	mv $@.new $@

$(BUILD)/gateway/assets.o: $(BUILD)/gateway/assets.c
	$(NET_COMPILE) -c -o $@ $<

$(BUILD)/%.o: src/%.c
	@mkdir -p $(@D)
	$(NET_COMPILE) -c -o $@ $<

install: install-gateway
uninstall: uninstall-gateway

install-gateway: $(BUILD)/$(GATEWAY)
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $< '$(DESTDIR)$(bindir)/$(GATEWAY)'

uninstall-gateway:
	rm -f '$(DESTDIR)$(bindir)/$(GATEWAY)'

# Unit tests: each test/unit/test_*.c is a program, with the other files there, the gateway's
# modules but its main(), and those of the PostgreSQL half that need nothing of PostgreSQL.
UNIT_HELPERS = $(patsubst test/unit/%.c,$(BUILD)/unit/%.o,\
	$(filter-out test/unit/test_%,$(sort $(wildcard test/unit/*.c))))
UNIT_TESTS = $(patsubst test/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard test/unit/test_*.c)))

unit-tests: $(UNIT_TESTS) $(BUILD)/http-echo

# The HTTP server for test/gateway/014_http.t
$(BUILD)/http-echo: $(BUILD)/test/echo.o $(BUILD)/libgateway.a
	$(NET_LINK) -o $@ $^ $(NET_LDLIBS)

$(BUILD)/test/%.o: test/gateway/%.c
	@mkdir -p $(@D)
	$(NET_COMPILE) -c -o $@ $<

$(BUILD)/unit/%.o: test/unit/%.c
	@mkdir -p $(@D)
	$(NET_COMPILE) -c -o $@ $<

$(BUILD)/libgateway.a: $(filter-out $(BUILD)/gateway/main.o,$(GATEWAY_OBJS)) $(BUILD)/ext/feed/turns.o
	rm -f $@
	$(AR) rcs $@ $^

# Those modules of the extension that need nothing of PostgreSQL.
UNIT_EXT = $(patsubst %,$(BUILD)/ext/%.o,access/json_slice access/jws access/jws_key base/backoff base/feed_life \
	channel/grant_pattern feed/feed_due feed/throttle filter/filter_parse launcher/gateway_life launcher/pulse \
	sets/event_body wamp/router wamp/router_call wamp/router_meta wamp/router_registration wamp/router_table \
	wamp/router_text)

$(UNIT_TESTS): %: %.o $(UNIT_HELPERS) $(UNIT_EXT) $(BUILD)/libgateway.a
	$(NET_LINK) -o $@ $^ $(NET_LDLIBS) -lcmocka -lcrypto

.SECONDARY: $(UNIT_TESTS:=.o) $(UNIT_HELPERS) $(BUILD)/test/echo.o

# Random input for each parser that faces the network, with libFuzzer: test/unit/fuzz_NAME.c. The first
# inputs are in test/fixtures/fuzz/NAME, and new ones are kept in build/corpus/NAME.
FUZZ_CC = clang-14
FUZZ_FLAGS = -std=gnu11 -g -O1 -D_GNU_SOURCE -Isrc $(NET_CFLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_TARGETS = $(patsubst test/unit/fuzz_%.c,%,$(sort $(wildcard test/unit/fuzz_*.c)))
FUZZ_OBJS = $(patsubst $(BUILD)/%,$(BUILD)/fuzz/%,$(filter-out $(addprefix $(BUILD)/gateway/,main.o assets.o),$(GATEWAY_OBJS)) $(UNIT_EXT)) \
	$(BUILD)/fuzz/test/sink.o
TARGET = $(FUZZ_TARGETS)
SECONDS = 60

fuzz: $(TARGET:%=$(BUILD)/fuzz/%)
	@for name in $(TARGET); do \
		mkdir -p $(BUILD)/corpus/$$name && echo "fuzz $$name" && \
		$(BUILD)/fuzz/$$name -max_total_time=$(SECONDS) -max_len=16384 -dict=test/fixtures/fuzz/$$name.dict \
			-artifact_prefix=$(BUILD)/fuzz/$$name- $(BUILD)/corpus/$$name test/fixtures/fuzz/$$name || exit 1; \
	done

$(FUZZ_TARGETS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/test/fuzz_%.o $(BUILD)/fuzz/libgateway.a
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(NET_LDLIBS) -lcrypto

$(BUILD)/fuzz/libgateway.a: $(FUZZ_OBJS)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/fuzz/test/fuzz_%.o: test/unit/fuzz_%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -Dfuzz_$*=LLVMFuzzerTestOneInput -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/test/%.o: test/unit/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/%.o: src/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

# The benchmarks' programs
BENCH_PROGRAMS = $(patsubst %,$(BUILD)/bench/%,client loop probe listen writers)

bench-programs: $(BENCH_PROGRAMS)

$(BUILD)/bench/%.o: bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -g -O2 -D_GNU_SOURCE -I$(shell $(PG_CONFIG) --includedir) -Wmissing-prototypes -Wpointer-arith \
		-Wformat=2 $(WARNINGS) -MMD -MP $(COPT) -c -o $@ $<

$(BENCH_PROGRAMS): %: %.o $(addprefix $(BUILD)/bench/,ws.o histogram.o)
	$(CC) -o $@ $^ -L$(shell $(PG_CONFIG) --libdir) -lpq

# Debian packages, for each PostgreSQL whose development files are installed
deb:
	@debian/build

# Tests, benchmarks and demo on a fresh machine
test:
	@test/run

test-matrix:
	@test/matrix $(VERSIONS)

test-packages:
	@test/packages

test-%:
	@test/run $*

faults:
	@test/faults/run

sets:
	@test/sets/run

bench:
	@bench/run

bench-%:
	@bench/run $*

# The client library as it is served. It is committed and depends on nothing, so that a build needs no tools of JavaScript.
client:
	esbuild --minify --format=esm --target=es2022 --log-level=warning '--banner:js=// pg_notifyd: see doc/client.md' \
		'--mangle-props=^(addGrouped|attempts|bookmarked|border|column|commit|ended|flush|fresh|gone|live|names|paused|promise|query|reject|remove|report|resolve|retrying|settle|sorted|started|take|until)$$' \
		client/pg_notifyd.js >client/client.js.new
	mv client/client.js.new client/client.js

demo:
	@EVENTS='$(EVENTS)' doc/demo/run

clean: clean-deps
clean-deps:
	rm -f $(OBJS:.o=.d)

.PHONY: all deb install-gateway uninstall-gateway unit-tests bench-programs test faults sets fuzz bench demo client clean-deps

-include $(OBJS:.o=.d) $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)
