#!/bin/sh
# Links what rustc hands over as a static PIE. rustc makes none for musl on
# aarch64 and says -static -no-pie, which gcc puts before -static-pie.
set -eu

for argument; do
	shift
	case $argument in
		-static|-no-pie) ;;
		*) set -- "$@" "$argument" ;;
	esac
done
exec ${GENKAN_CC} -static-pie -L"$(dirname "$0")" -Wl,-z,text,-z,relro,-z,now,-z,noexecstack "$@"
