# SPDX-License-Identifier: MIT
# Debian packages that building, testing and demonstrating need. Sourced by tests/run and tests/demo.

BUILD_PACKAGES="gcc g++ libc6-dev cmake ninja-build pkg-config git libseccomp-dev libjson-c-dev libelf-dev
	libcmocka-dev libbpf-dev scdoc clang llvm systemtap-sdt-dev llvm-19-dev libzydis-dev golang-go musl-tools"
TOOL_PACKAGES="bats bpftrace bpfcc-tools libbpf-tools bpftool linux-headers-amd64 strace python3
	procps util-linux"

# install_packages PACKAGE...: install those that are missing; silent when none is.
install_packages()
{
	local missing=() package

	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			missing+=("$package")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	echo "installing: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q >/dev/null || echo "apt-get update failed, trying with the lists at hand" >&2
	apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}
