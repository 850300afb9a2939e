#!/bin/bash
# build - how long everything takes to build, from nothing.
# shellcheck disable=SC2034,SC2154 # shared with bench/run

build_rows() {
	section 'building'
	row build s "make -j$(nproc), from nothing"
}

build_once() {
	if [ -n "$quick" ]; then
		absent build 'not in a smoke run'
		return
	fi
	if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		absent build 'no git checkout'
		return
	fi
	# What git knows, as it stands now.
	mkdir "$scratch/source"
	git ls-files -z | tar -c --null -T - | tar -x -C "$scratch/source"
	local limit_s=900
	took env -u B make -C "$scratch/source" -j"$(nproc)" all
	sample build "$took"
	rm -rf "$scratch/source"
}
