#!/usr/bin/env bash
# Three nodes on this machine, from deploy/local. Run without arguments for help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# The configurations name ./data.
cd "$QUORATE_ROOT"

readonly NODES=(1 2 3)
readonly UP_SECONDS=30
readonly DOWN_SECONDS=10

usage() {
    cat <<'HELP'
usage: scripts/cluster.sh COMMAND

  up         build if needed, start the nodes that do not run, form the cluster, wait for a leader
  down       stop all nodes: asked first (SIGTERM), killed after 10 seconds
  status     the processes, and the cluster as it sees itself; exits with 3 when no node runs
  kill N     kill node N at once (SIGKILL)
  start N    start node N
  pause N    stop node N in its tracks (SIGSTOP); it keeps its connections and answers nothing
  resume N   let a paused node N go on (SIGCONT)
  wipe       down, then remove the data of all nodes

Node N serves clients at the port 7100 + N. Its data is in data/nodeN, its log in data/nodeN.log.
HELP
}

log_of() { echo "data/node$1.log"; }
pid_file_of() { echo "data/node$1.pid"; }

all_endpoints() {
    local node list=()
    for node in "${NODES[@]}"; do list+=("$(listen_of "$node" client)"); done
    local IFS=,
    echo "${list[*]}"
}

# Whether a process is node N of this checkout: a process id may have gone to somebody else.
is_node() { # PID NODE
    local program folder command
    program=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
    # A rebuilt program leaves its old self behind as "… (deleted)".
    program=${program% (deleted)}
    folder=$(readlink "/proc/$1/cwd" 2>/dev/null) || return 1
    command=$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline") || return 1
    [[ ${program##*/} == quorate && $folder == "$(pwd -P)" && $command == *" start --config $(config_of "$2") "* ]]
}

# The process id of node N, or nothing when it does not run. A stale file is cleared away.
pid_of() {
    local file pid
    file=$(pid_file_of "$1")
    [[ -f $file ]] || return 0
    read -r pid <"$file" || true
    if [[ $pid =~ ^[1-9][0-9]*$ ]] && is_node "$pid" "$1"; then
        echo "$pid"
    else
        rm -f "$file"
    fi
}

is_paused() { # PID
    [[ $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) == T ]]
}

is_open() { # HOST:PORT
    (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null
}

require_free() { # NODE ADDRESS
    local who=""
    is_open "$2" || return 0
    if command -v ss >/dev/null; then
        who=$(ss -Hltnp "sport = :${2##*:}" 2>/dev/null | sed -n 's/.*users:((\("[^"]*",pid=[0-9]*\).*/\1/p' | head -n 1)
    fi
    die "node $1 cannot start: $2 is in use by another program${who:+ ($who)}; stop that one, or change the port in $(config_of "$1") and in the members of all three files"
}

require_node() {
    [[ ${1:-} =~ ^[1-3]$ ]] || die "name a node: 1, 2 or 3"
}

require_running() {
    [[ -n $(pid_of "$1") ]] || die "node $1 does not run; start it with: scripts/cluster.sh start $1"
}

build() {
    # One that was named with QUORATE_BIN is taken as it is; the built one must be of this checkout.
    if [[ $QUORATE_BIN == "$CARGO_TARGET_DIR/release/quorate" ]]; then
        scripts/setup.sh
        if [[ ! -x $QUORATE_BIN ]]; then
            echo "Building quorate; the first time this compiles RocksDB, which takes 10 to 20 minutes."
        fi
        cargo build --release --quiet --bin quorate
    fi
    [[ -x $QUORATE_BIN ]] || die "the build left no $QUORATE_BIN; unset QUORATE_BIN to use the one that was built"
}

require_ports() { # NODE
    [[ -z $(pid_of "$1") ]] || return 0
    require_free "$1" "$(listen_of "$1" client)"
    require_free "$1" "$(listen_of "$1" peer)"
}

start_node() {
    local pid
    [[ -z $(pid_of "$1") ]] || return 0
    require_ports "$1"
    mkdir -p data
    # Overrides are for one node; three with the same directory or port would harm each other. A
    # session of its own keeps a Ctrl-C of this terminal away.
    env -u QUORATE_CONFIG -u QUORATE_DATA_DIR -u QUORATE_CLIENT_LISTEN -u QUORATE_PEER_LISTEN \
        setsid "$QUORATE_BIN" start --config "$(config_of "$1")" </dev/null >>"$(log_of "$1")" 2>&1 &
    pid=$!
    echo "$pid" >"$(pid_file_of "$1")"
    # Until exec is done it is env or setsid; give it a moment before anybody asks who it is.
    local deadline=$((SECONDS + 5))
    until is_node "$pid" "$1"; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
            not_running "$1"
        fi
        sleep 0.05
    done
    echo "node $1 started, process $pid"
}

not_running() {
    echo "The end of $(log_of "$1"):" >&2
    tail -n 15 "$(log_of "$1")" >&2 || true
    die "node $1 does not run; its log is $(log_of "$1")"
}

# One answer of one node about itself and the others; fails when it does not come.
status_json() { # ENDPOINTS
    timeout 5 "$QUORATE_BIN" --endpoints "$1" --output json cluster status --no-digest 2>/dev/null
}

# Whether an answer says what is asked, however its JSON is laid out.
says() { # JSON PATTERN
    grep -qE "$2" <<<"$(tr -d '[:space:]' <<<"$1")"
}

has_leader() { says "$1" '"role":"ROLE_LEADER"'; }
is_formed() { says "$1" '"voter":true'; }

wait_until_answering() { # NODE DEADLINE
    local endpoint
    endpoint=$(listen_of "$1" client)
    until is_open "$endpoint" && status_json "$endpoint" >/dev/null; do
        [[ -n $(pid_of "$1") ]] || not_running "$1"
        ((SECONDS < $2)) || die "node $1 runs but does not answer at $endpoint after $UP_SECONDS seconds; see $(log_of "$1")"
        sleep 0.2
    done
}

form_cluster() {
    local node answer
    for node in "${NODES[@]}"; do
        answer=$(status_json "$(listen_of "$node" client)") || continue
        if is_formed "$answer"; then return 0; fi
    done
    timeout 20 "$QUORATE_BIN" --endpoints "$(listen_of 1 client)" cluster init >/dev/null ||
        die "the cluster could not be formed (see above); its data may be a remainder: scripts/cluster.sh wipe starts anew"
}

wait_for_leader() { # DEADLINE
    local answer
    until answer=$(status_json "$(all_endpoints)") && has_leader "$answer"; do
        ((SECONDS < $1)) || die "no leader after $UP_SECONDS seconds; the logs are data/node*.log"
        sleep 0.2
    done
}

up() {
    local node pid deadline
    build
    # Before the first is started, so that a refusal leaves nothing behind.
    for node in "${NODES[@]}"; do require_ports "$node"; done
    for node in "${NODES[@]}"; do
        pid=$(pid_of "$node")
        if [[ -n $pid ]] && is_paused "$pid"; then
            resume_node "$node"
        fi
        start_node "$node"
    done
    deadline=$((SECONDS + UP_SECONDS))
    for node in "${NODES[@]}"; do wait_until_answering "$node" "$deadline"; done
    form_cluster
    wait_for_leader "$deadline"
    status
}

# Waits until a process is gone; fails when it still runs after so many seconds.
wait_gone() { # NODE SECONDS
    local deadline=$((SECONDS + $2))
    while [[ -n $(pid_of "$1") ]]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

kill_node() {
    local pid
    require_running "$1"
    pid=$(pid_of "$1")
    kill -KILL "$pid"
    wait_gone "$1" 10 || die "node $1 (process $pid) is still there after SIGKILL; it may hang in the disk"
    echo "node $1 killed"
}

pause_node() {
    require_running "$1"
    kill -STOP "$(pid_of "$1")"
    echo "node $1 paused"
}

resume_node() {
    require_running "$1"
    kill -CONT "$(pid_of "$1")"
    echo "node $1 resumed"
}

down() {
    local node pid stopping=()
    for node in "${NODES[@]}"; do
        pid=$(pid_of "$node")
        [[ -n $pid ]] || continue
        # A paused process would only hear the request when it goes on.
        kill -CONT "$pid" 2>/dev/null || true
        kill -TERM "$pid" 2>/dev/null || true
        stopping+=("$node")
    done
    for node in ${stopping[@]+"${stopping[@]}"}; do
        if wait_gone "$node" "$DOWN_SECONDS"; then
            echo "node $node stopped"
        else
            echo "node $node did not stop within $DOWN_SECONDS seconds"
            kill_node "$node"
        fi
    done
}

wipe() {
    local node
    down
    for node in "${NODES[@]}"; do
        rm -rf "data/node$node" "data/node$node.log" "data/node$node.pid"
    done
    rmdir data 2>/dev/null || true
    echo "data of all nodes removed"
}

status() {
    local node pid running=0 endpoints=()
    for node in "${NODES[@]}"; do
        pid=$(pid_of "$node")
        if [[ -z $pid ]]; then
            echo "node $node does not run"
        elif is_paused "$pid"; then
            running=$((running + 1))
            echo "node $node is paused, process $pid"
        else
            running=$((running + 1))
            endpoints+=("$(listen_of "$node" client)")
            echo "node $node runs, process $pid, clients at ${endpoints[-1]}"
        fi
    done
    if ((running == 0)); then exit 3; fi
    if ((${#endpoints[@]} > 0)); then
        local IFS=,
        timeout 10 "$QUORATE_BIN" --endpoints "${endpoints[*]}" cluster status
    fi
}

command=${1:-}
case $command in
up | down | status | wipe)
    (($# == 1)) || die "$command takes no argument"
    "$command"
    ;;
kill | start | pause | resume)
    (($# == 2)) || die "$command takes one argument, the node: 1, 2 or 3"
    require_node "$2"
    case $command in
    kill) kill_node "$2" ;;
    start)
        pid=$(pid_of "$2")
        [[ -z $pid ]] || die "node $2 runs already, process $pid"
        build
        start_node "$2"
        ;;
    pause) pause_node "$2" ;;
    resume) resume_node "$2" ;;
    esac
    ;;
-h | --help | help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
