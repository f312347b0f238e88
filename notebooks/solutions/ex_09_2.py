rows = splits["validation"]
needed = [row["tools"] for row in rows]
whole = lambda shown: figures(shown, needed)["whole set"]
wanted = whole(retriever.retrieve([row["request"] for row in rows])) - 0.03
enough = [n for n in range(1, len(tools) + 1) if whole(Best(vectors, n, tools).retrieve([r["request"] for r in rows])) >= wanted]
count = enough[0] + 1  # held-out ways to ask will be harder

checks.ex_09_2(count, vectors, tools, splits["test_patterns"], retriever)
