#!/bin/bash
# One piece of the paper's tables on a GPU (or anywhere), at most MINUTES long: give the same command until it exits with 0.
#   OUT=out DATA=cifar10-jpeg THINRESNET_WEIGHTS=thinresnet-weights scripts/paper-gpu.sh
# Finished stages are never redone, a training that was stopped or killed goes on from its checkpoint. After each piece
# OUT has evidence.tar.gz (small files without weights: thinresnet study paper reads them) and state.tar (finished stages
# with weights, unfinished ones with checkpoints: a fresh machine goes on from it).
# FILE, TIER, RUNS, JOBS (trainings side by side: try 1, 2, 4, 8 on the card for a piece each and take the fastest).
set -u
FILE=${FILE:-baselines/paper.yaml} TIER=${TIER:-gpu} RUNS=${RUNS:-runs} OUT=${OUT:-out} JOBS=${JOBS:-4} MINUTES=${MINUTES:-9}
data=(); [ -n "${DATA:-}" ] && data=(--data-dir "$DATA")
run=(python -m thinresnet study)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
mkdir -p "$OUT"
if [ ! -d "$RUNS" ] && [ -f "$OUT/state.tar" ]; then mkdir -p "$RUNS" && tar -xf "$OUT/state.tar" -C "$RUNS"; fi

"${run[@]}" run "$FILE" --tier "$TIER" --output "$RUNS" --jobs "$JOBS" --minutes "$MINUTES" "${data[@]}"
code=$?
"${run[@]}" pack "$FILE" --tier "$TIER" --output "$RUNS" --to "$OUT/evidence" "${data[@]}" || exit $?
tar -czf "$OUT/evidence.tar.gz.part" -C "$OUT" evidence && mv "$OUT/evidence.tar.gz.part" "$OUT/evidence.tar.gz"
tar -cf "$OUT/state.tar.part" -C "$RUNS" --exclude=.lock --exclude=.hashes . && mv "$OUT/state.tar.part" "$OUT/state.tar"
exit $code
