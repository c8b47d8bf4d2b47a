"""`chiasm tune`: which variant of each part, on which backend, with which settings, is fastest on this host and still
right. See docs/tune.md.

    race.py      interleaved runs, ratios of the same round, early stopping: no graph in it
    judge.py     what a choice costs on the fused answers, for every set of present modalities
    field.py     the candidates of one part: which there are, opened, refused, raced
    search.py    part by part, then together, then against the best single setting
    state.py     what is written, and kept so that an interrupted run goes on
    front.py     the picture of accuracy against latency
"""
