# shunt: every build step.
#
#   make            programs in build/bin
#   make demo       a whole fleet on this machine, in a scratch folder
#   make check      every test; SAN=address,undefined or SAN=thread, CC=clang
#   make unit       the cmocka tests; T=name runs tests/test_name.c alone
#   make e2e        the end-to-end tests; T=name runs tests/e2e/name.bats
#   make chaos      faults of every kind against whole fleets, some 15 minutes;
#                   T= and CHAOS_SEED= choose (docs/reliability.md)
#   make bench      rates beside the limits of this machine; BENCH_ONLY=a,b
#                   selects parts, BENCH_FULL=1 has a million tasks wait
#                   (bench/README.md)
#   make fuzz       every parser under libFuzzer, T seconds in all (60)
#   make lint       format, static checks, rules of CONTRIBUTING, YAML
#   make format     clang-format over the tree
#   make install    programs to $(DESTDIR)$(PREFIX)/bin
#   make deps       the Debian packages all of this needs

VERSION := 0.1.0
# With the commit, in a checkout.
COMMIT := $(shell [ -e .git ] && git rev-parse --short=8 HEAD 2>/dev/null)
FULL_VERSION := $(VERSION)$(if $(COMMIT),+$(COMMIT))
PREFIX ?= /usr/local
SAN ?=
T ?=

# Each compiler and sanitizer builds in a folder of its own.
empty :=
comma := ,
FLAVOR := $(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(filter clang,$(CC)),-clang)$(if $(DEBUG),-debug)
B := build$(if $(FLAVOR),/flavor$(FLAVOR))
ifeq ($(strip $(B)),)
$(error B is empty: that would build into the root of the file system)
endif

PKGS := libnats libprotobuf-c libuv jansson yaml-0.1 sqlite3 libmicrohttpd libcurl libcrypto
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
	-Wvla -Wundef -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
	-Wformat=2 -Wimplicit-fallthrough $(if $(WERROR),-Werror)
OPT := -O2 -g
CPPFLAGS += -I. -I$(B)/gen -D_GNU_SOURCE \
	$(if $(DEBUG),-DSHUNT_DEBUG)
CFLAGS += -std=c17 $(OPT) $(WARN) -fno-common -fstack-protector-strong \
	-MMD -MP $(PKG_CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
LDFLAGS += -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN))

NATS_LIBS := $(shell pkg-config --libs libnats)
LIB_LIBS := $(shell pkg-config --libs libnats libprotobuf-c libuv jansson yaml-0.1 libcrypto)
CURL_LIBS := $(shell pkg-config --libs libcurl)
SQLITE_LIBS := $(shell pkg-config --libs sqlite3)
HTTPD_LIBS := $(shell pkg-config --libs libmicrohttpd)
CMOCKA_LIBS := $(shell pkg-config --libs cmocka 2>/dev/null)

# --- the parts of each program -------------------------------------------

# Files for one system are called so: lib/os/os_linux.c.
SYSTEM := $(shell uname -s | tr A-Z a-z)
OTHER_SYSTEMS := $(patsubst %,\%_%.c,$(filter-out $(SYSTEM),linux darwin))

# objects FOLDER...: what is built from the folders' sources
objects = $(patsubst %.c,$(B)/%.o,$(filter-out $(OTHER_SYSTEMS), \
	$(wildcard $(addsuffix /*.c,$(1)))))

LIB_OBJS := $(call objects,lib/*) $(B)/gen/shunt.pb-c.o

PROGRAMS := shunt shunt-router shunt-worker-local shunt-worker-secutools \
	shunt-reaper shunt-gateway-folder

DECIDE_OBJS := $(addprefix $(B)/router/,decide.o rules.o scoring.o keywords.o policy.o policy_read.o)
ROUTER_OBJS := $(call objects,router)
CORE_OBJS := $(call objects,workers/core)
LOCAL_OBJS := $(CORE_OBJS) $(call objects,workers/local)
SECUTOOLS_OBJS := $(CORE_OBJS) $(call objects,workers/secutools)
REAPER_OBJS := $(call objects,reaper reaper/*)
FORMATS_OBJS := $(call objects,gateways/formats)
FOLDER_OBJS := $(call objects,gateways/folder) $(FORMATS_OBJS)
FLEET_OBJS := $(call objects,fleet)
CLI_OBJS := $(call objects,cli) $(FLEET_OBJS) $(FORMATS_OBJS) \
	$(DECIDE_OBJS) $(B)/gateways/folder/folder_layout.o $(B)/gateways/folder/folder_list.o

BINS := $(PROGRAMS:%=$(B)/bin/%)

all: $(BINS) $(B)/bin/ccl-delegate

$(B)/bin/shunt: $(CLI_OBJS) $(B)/libshunt.a
$(B)/bin/shunt-router: $(ROUTER_OBJS) $(B)/libshunt.a
$(B)/bin/shunt-worker-local: $(LOCAL_OBJS) $(B)/libshunt.a
$(B)/bin/shunt-worker-secutools: $(SECUTOOLS_OBJS) $(B)/libshunt.a
$(B)/bin/shunt-worker-secutools: EXTRA_LIBS := $(CURL_LIBS) $(HTTPD_LIBS)
$(B)/bin/shunt-reaper: $(REAPER_OBJS) $(B)/libshunt.a
$(B)/bin/shunt-gateway-folder: $(FOLDER_OBJS) $(B)/libshunt.a
$(B)/bin/shunt-reaper: EXTRA_LIBS := $(SQLITE_LIBS) $(HTTPD_LIBS)

$(BINS):
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIB_LIBS) $(EXTRA_LIBS) -lpthread

# The name that dispatchers of delegated tasks call.
$(B)/bin/ccl-delegate: $(B)/bin/shunt
	@ln -sf shunt $@

$(B)/libshunt.a: $(LIB_OBJS)
	@rm -f $@
	$(AR) qcs $@ $^

$(B)/%.o: %.c $(B)/gen/shunt.pb-c.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Newer than its object when the version is another one.
$(B)/gen/version: FORCE
	@mkdir -p $(B)/gen
	@echo '$(FULL_VERSION)' | cmp -s - $@ || echo '$(FULL_VERSION)' >$@

$(B)/lib/base/version.o: $(B)/gen/version
$(B)/lib/base/version.o: CPPFLAGS += -DSHUNT_VERSION='"$(FULL_VERSION)"'

$(B)/gen/shunt.pb-c.c $(B)/gen/shunt.pb-c.h &: proto/shunt.proto
	@mkdir -p $(B)/gen
	protoc-c --c_out=$(B)/gen -Iproto $<

$(B)/gen/shunt.pb-c.o: $(B)/gen/shunt.pb-c.c
	$(CC) $(CPPFLAGS) -std=c17 $(OPT) -MMD -MP $(PKG_CFLAGS) \
		$(if $(SAN),-fsanitize=$(SAN)) -c -o $@ $<

# The shipped policy is part of the programs: the file's bytes as an array.
$(B)/gen/policy_default.h: etc/policy.yaml
	@mkdir -p $(B)/gen
	{ echo 'static const unsigned char policy_default_text[] = {'; \
		od -An -v -tu1 $< | sed 's/[0-9][0-9]*/&,/g'; echo '};'; } >$@

$(B)/router/policy.o: $(B)/gen/policy_default.h

# --- tests -----------------------------------------------------------------

FUZZ_OBJS := $(patsubst %.c,$(B)/%.o,$(wildcard tests/fuzz/fuzz_*.c))

# Everything but the mains, so that a test links whatever it names.
PARTS := $(filter-out %/main.o,$(ROUTER_OBJS) $(LOCAL_OBJS) $(SECUTOOLS_OBJS) \
	$(REAPER_OBJS) $(FORMATS_OBJS) $(FOLDER_OBJS) $(CLI_OBJS)) $(FUZZ_OBJS) $(B)/tests/broker.o \
	$(patsubst %.c,$(B)/%.o,$(wildcard tests/protocol_sim_*.c))
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))

$(B)/libparts.a: $(sort $(PARTS))
	@rm -f $@
	$(AR) qcs $@ $^

$(B)/tests/%: $(B)/tests/%.o $(B)/libparts.a $(B)/libshunt.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(CURL_LIBS) $(SQLITE_LIBS) $(HTTPD_LIBS) \
		$(CMOCKA_LIBS) -lpthread

.SECONDARY: $(TESTS:%=%.o)

# Stand-ins for services that tests cannot reach.
FAKES := $(patsubst %.c,$(B)/%,$(wildcard tests/fake/*.c))

$(FAKES): $(B)/%: $(B)/%.o
	$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs jansson libmicrohttpd) -lpthread

tests: $(TESTS) $(FAKES)

unit: all tests
	B=$(B) tests/run unit $(T)

e2e: all
	B=$(B) tests/run e2e $(T)

# The packages come first: what pkg-config says is read when make starts.
check:
	@scripts/deps check
	+@$(MAKE) --no-print-directory check-all

check-all: all tests debug
	B=$(B) tests/run all

# The same programs with crash points, for faults.
DEBUG_B := $(if $(DEBUG),$(B),$(if $(FLAVOR),$(B)-debug,build/flavor-debug))

debug:
	+$(MAKE) DEBUG=1 all $(DEBUG_B)/tests/chaos/peek

# T=short, T=crash, T=single, T=folder, T=machines, T=random, or one round.
chaos: debug
	SHUNT_DEBUG_BIN=$(CURDIR)/$(DEBUG_B)/bin tests/chaos/run $(T)

# One program for all parsers; tests/fuzz/run shares out the time. make check
# runs the seeds without libFuzzer.
$(B)/fuzz: $(B)/tests/fuzz/main.o $(FUZZ_OBJS) $(DECIDE_OBJS) $(FORMATS_OBJS) \
	$(B)/router/admission.o $(B)/workers/local/simple_command.o $(B)/libshunt.a
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIB_LIBS) -lpthread

fuzz:
	+$(MAKE) CC=clang SAN=fuzzer-no-link,address,undefined \
		B=build/flavor-fuzz build/flavor-fuzz/fuzz
	B=build/flavor-fuzz tests/fuzz/run $(or $(T),60)

# --- the rest --------------------------------------------------------------

BENCHES := $(addprefix $(B)/bench/,spawn pipeline claims ledger client beats worker_noop fsync_server \
	curl_multi)

$(B)/bench/spawn: $(B)/bench/spawn.o $(B)/bench/bench.o
$(B)/bench/pipeline: $(addprefix $(B)/bench/,pipeline.o wire.o bench.o)
$(B)/bench/claims: $(addprefix $(B)/bench/,claims.o wire.o bench.o)
$(B)/bench/ledger: $(B)/bench/ledger.o $(B)/bench/bench.o
$(B)/bench/ledger: EXTRA_LIBS := $(SQLITE_LIBS)
$(B)/bench/client: $(B)/bench/client.o $(B)/bench/bench.o $(B)/libshunt.a
$(B)/bench/beats: $(B)/bench/beats.o $(B)/bench/bench.o $(B)/libshunt.a
$(B)/bench/fsync_server: $(B)/bench/fsync_server.o $(B)/fleet/fsync_server.o $(B)/fleet/jetstream_fsync.o $(B)/libshunt.a
$(B)/bench/worker_noop: $(B)/bench/worker_noop.o $(CORE_OBJS) $(B)/libshunt.a

$(B)/bench/curl_multi: $(B)/bench/curl_multi.o $(B)/bench/bench.o
$(B)/bench/curl_multi: EXTRA_LIBS := $(CURL_LIBS)

$(BENCHES):
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(EXTRA_LIBS) -lpthread

benches: $(BENCHES) $(B)/tests/fake/secutools

bench: all benches
	B=$(B) CC="$(CC)" bench/run

deps:
	scripts/deps all

demo:
	scripts/demo

lint:
	scripts/lint

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(BINS) $(DESTDIR)$(PREFIX)/bin
	ln -sf shunt $(DESTDIR)$(PREFIX)/bin/ccl-delegate

.PHONY: FORCE all tests unit e2e check check-all debug chaos fuzz lint format clean install demo bench benches deps
.DELETE_ON_ERROR:

-include $(shell find $(B) -name '*.d' 2>/dev/null)
