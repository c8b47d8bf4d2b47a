"""`chiasm tune`: which variant of each part, on which backend, with which settings, is fastest on this host and still
right. See docs/tune.md.

    race.py       interleaved runs, ratios of the same round, early stopping: no graph in it
    budget.py     the time for all of it, and what there was no time for
    opener.py     sessions: timed, and no more of them open than memory has room for
    judge.py      what a choice costs on the fused answers, for every set of present modalities
    field.py      the candidates of one part: which there are, refused, raced
    ranking.py    who leads among them, and what is said of the others
    plans.py      the parts' own choices together inside the drop; single settings
    decision.py   whole decisions of several plans, raced
    whole.py      the plan beside the best single setting
    stages.py     feeds, judging, and races of one part after another
    search.py     all of it in order, written
    state.py      what is written, and kept so that an interrupted run goes on
    front.py      the picture of accuracy against latency
    document.py   the tables of docs/tune.md
"""
