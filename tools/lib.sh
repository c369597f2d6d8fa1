# shellcheck shell=bash
# What every shell script of tools/ shares: messages, timed stages, and how Bazel is called.

say() { printf 'keelson: %s\n' "$*"; }
die() {
  printf 'keelson: %s\n' "$*" >&2
  exit 1
}

# stage NAME COMMAND...: runs COMMAND and says how long it took, also when it fails.
stage() {
  local name=$1 started=$EPOCHREALTIME status=0
  shift
  say "$name ..."
  "$@" || status=$?
  local tenths=$(((${EPOCHREALTIME/./} - ${started/./}) / 100000))
  if ((status == 0)); then
    say "$name: done in $((tenths / 10)).$((tenths % 10)) s"
  else
    say "$name: failed after $((tenths / 10)).$((tenths % 10)) s (exit code $status)" >&2
  fi
  return "$status"
}

# Options of each Bazel command, one a line. Where nobody watches, a line now and then is enough.
bazel_flags() {
  if [[ ! -t 2 ]]; then
    printf '%s\n' --curses=no --color=no --show_progress_rate_limit=30 --noshow_loading_progress
  fi
  # Several options are separated by blanks, as in a .bazelrc line.
  if [[ -n ${KEELSON_BAZEL_FLAGS:-} ]]; then
    tr -s ' ' '\n' <<<"$KEELSON_BAZEL_FLAGS" | sed '/^$/d'
  fi
}

# run_bazel COMMAND ARGUMENT...: `bazel COMMAND` with the options above. Output goes to stderr.
run_bazel() {
  local command=$1 flags=()
  shift
  mapfile -t flags < <(bazel_flags)
  bazel "$command" "${flags[@]}" "$@" >&2
}
