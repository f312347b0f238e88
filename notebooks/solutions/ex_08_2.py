def v3(counts):
    rate = {c: right / n for c, (right, n) in counts.items()}
    mean = lambda names: sum(rate.get(name, 0) for name in names) / len(names)
    rate["simple"] = mean([f"simple_{language}" for language in ("python", "java", "javascript")])
    non_live = mean(["simple", "multiple", "parallel", "parallel_multiple", "irrelevance"])
    live = [counts[c] for c in counts if c.startswith("live_")]
    weighted = sum(right for right, _ in live) / sum(n for _, n in live)
    talks = mean([f"multi_turn_{kind}" for kind in ("base", "miss_func", "miss_param", "long_context")])
    return 100 * (non_live + weighted + talks) / 3

checks.ex_08_2(v3)
