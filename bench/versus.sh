#!/usr/bin/env bash
# Times the library and its peers in turn, and writes bench/RESULTS.md.
#
#   PEERS=../shared/peers PYTHON=/path/to/venv/bin/python bench/versus.sh
#   bench/versus.sh --quick                     W1, W3 and W5, one pass
#   bench/versus.sh --workloads W5,W6 --passes 5 --output table.md
#   bench/versus.sh --resume                    goes on with a run that was stopped
#   bench/versus.sh --report                    writes the tables of the last run again
#
# Environment:
#   PEERS    folder of peers.py; a relative one counts from the project's root [../shared/peers]
#   PYTHON   interpreter that has the peers' packages (requirements.txt there) [python3]
#   BENCH    a built deeplimit-bench; without it, it is built first
# All other options are those of bench/versus.py: see `bench/versus.sh --help`.
#
# Both sides want two cores to themselves. Exit status: 0 done, 1 a gradient of ours is wrong or
# missing (the tables are written all the same), 2 an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PEERS=${PEERS:-../shared/peers}
PYTHON=${PYTHON:-python3}
BENCH=${BENCH:-}

if [[ -z $BENCH && ! " $* " =~ " -h " && ! " $* " =~ " --help " && ! " $* " =~ " --report " ]]; then
    cargo build --release -p deeplimit-bench >&2
    target=$(cargo metadata --format-version 1 --no-deps |
        "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    BENCH=$target/release/deeplimit-bench
fi

exec "$PYTHON" bench/versus.py ${BENCH:+--bench "$BENCH"} --peers "$PEERS" "$@"
