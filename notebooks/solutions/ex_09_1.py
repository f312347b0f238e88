def with_tool(vectors, name, requests):
    more = ToolVectors(vectors.embed, vectors.vectors)
    more.add(name, requests)
    return more

checks.ex_09_1(with_tool)
