# SPDX-License-Identifier: MIT
# become_root "$0" "$@": go on as root, through sudo where it exists.

become_root()
{
	[ "$(id -u)" -eq 0 ] && return 0
	if command -v sudo >/dev/null; then
		exec sudo --preserve-env=CI -- "$@"
	fi
	echo "$1 needs root and there is no sudo here; try: su -c '$*'" >&2
	exit 1
}
