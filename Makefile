# SPDX-License-Identifier: Apache-2.0
# A short front of CMake and tools/. Every target installs what it needs first (tools/setup).

PRESET ?= dev

.DEFAULT_GOAL := help
.PHONY: help build images demo test test-unit test-fuzz test-arm64 test-images test-integration test-chart attack-matrix bench check clean

help: ## this text
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

build: ## build everything into build/, the static programs included
	@tools/build $(PRESET) all static

PREFIX ?= /usr/local
.PHONY: install
install: ## the command line and its wrapper, after `make build`, into PREFIX (/usr/local)
	@install -D -m 755 build/cli/cloudtaser $(DESTDIR)$(PREFIX)/bin/cloudtaser
	@install -D -m 755 build/static/wrapper/cloudtaser-wrapper $(DESTDIR)$(PREFIX)/libexec/cloudtaser/cloudtaser-wrapper

images: ## cloudtaser-webhook, cloudtaser-injector and cloudtaser-agent from scratch, into build/images (as root)
	@tools/images

demo: ## the whole way on this machine, in words: patch, run, attack, refusal
	@tools/setup build static demo
	@tools/build dev all static
	@tools/demo

.PHONY: cluster test-cluster test-operator
cluster: ## a real cluster in a virtual machine, CloudTaser in it, and a prompt (as root)
	@tools/setup build static images testenv cluster
	@tools/build dev all static
	@tools/images amd64
	@tools/build-testenv
	@tools/build-vm
	@tools/cluster

test: ## check, and every test there is (some 50 min the first time, 25 later)
	@tools/test all

test-unit: ## unit tests, golden files and fuzz corpora, plain and with sanitizers
	@tools/test unit

.PHONY: test-pid1
test-pid1: ## the duties of PID 1 as a table, as PID 1 and as an ordinary process (as root)
	@tools/test pid1

test-fuzz: ## each fuzz harness for 30 s
	@tools/test fuzz

test-arm64: ## wrapper and injector on aarch64 kernels, by QEMU
	@tools/test arm64

test-images: ## the images, built twice, looked into and run
	@tools/test images

test-integration: ## against a real API server and a real Vault
	@tools/test integration

test-chart: ## the chart with the real Helm and a real API server
	@tools/test chart

test-cluster: ## the chart and pods of every kind on a real node
	@tools/test cluster

test-operator: ## the agent replaced, killed and undone under attack on a real node (10 min; not part of make test)
	@tools/test operator

attack-matrix: ## each attack on five kernels, without and with the agent; writes docs/attack-matrix.md
	@tools/setup build kernels cluster
	@tools/build dev all
	@tools/build-vm
	@tools/build-kernels
	@tools/attack-matrix

.PHONY: soak
soak: ## the agent under attack and churn for MINUTES (10), and what is left of it
	@tools/setup build static kernels cluster
	@tools/build dev all static-agent
	@tools/build-vm
	@tools/build-kernels
	@test/agent/soak.py $(MINUTES)

bench: ## measure, and write build/bench.json
	@tools/setup build static bench
	@tools/bench

check: ## formatting, linters, house rules
	@tools/check

clean: ## remove what was built here (the cache stays)
	@rm -rf build build-release build-asan-ubsan build-tsan build-coverage build-fuzz build-images
