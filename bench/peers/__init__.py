"""chiasm beside others: the same weights, the same captures, the same threads, one interleaved run.

One short file a peer: `eager`, `compiled`, `plain_ort`, `plain_ort_int8`, `with_openvino`, `with_openvino_int8`, and
`ours`, each with `NAME`, the packages that it `NEEDS`, and `open_racer`. A new peer is a new file and a word in
`run.PEERS`. `chiasm bench peers` runs the races, `python -m chiasm.bench.peers.page` writes docs/benchmarks.md.
"""
