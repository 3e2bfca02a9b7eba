"""Natural loops of a control-flow graph, inner ones first."""

from __future__ import annotations

from rvsim.timing.effort import Effort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def natural_loops(
    ways: Mapping[int, Sequence[int]], entries: Sequence[int], effort: Effort
) -> list[tuple[int, set[int]]]:
    """Loops with one way in.

    A way back to an instruction that all ways to it pass is the end of a round; the loop is all from which that can be
    reached without passing its beginning (Aho, Lam, Sethi, Ullman, Compilers, section 9.6.6). Dominators as by Cooper,
    Harvey, Kennedy, A simple, fast dominance algorithm, 2001.

    Parameters
    ----------
    ways : mapping of int to sequence of int
        Successors of each node.
    entries : sequence of int
        Nodes where it begins.
    effort : Effort
        Where it does not suffice there is no loop.

    Returns
    -------
    list of (int, set of int)
        Beginning and members, the beginning among them; none comes behind one that holds it.
    """
    root = -1
    order = _postorder({**ways, root: list(entries)}, root)
    number = {node: n for n, node in enumerate(order)}
    before: dict[int, list[int]] = {node: [] for node in order}
    for node in order:
        for target in entries if node == root else ways.get(node, ()):
            before[target].append(node)
    above = {root: root}
    changed = True
    while changed:
        changed = False
        for node in reversed(order):
            if node == root:
                continue
            known = [p for p in before[node] if p in above]
            best = known[0]
            for other in known[1:]:
                steps = 1
                while best != other:
                    steps += 1
                    if number[best] < number[other]:
                        best = above[best]
                    else:
                        other = above[other]
                if not effort.spend(steps):
                    return []
            if above.get(node) != best:
                above[node], changed = best, True
    found: dict[int, set[int]] = {}
    for node in order:
        for target in ways.get(node, ()):
            if _dominates(target, node, above, number, effort):
                members = found.setdefault(target, {target})
                todo, steps = [node], 1
                while todo:
                    each = todo.pop()
                    if each not in members:
                        members.add(each)
                        todo += before[each]
                        steps += len(before[each])
                if not effort.spend(steps):
                    return []
    return sorted(found.items(), key=lambda loop: len(loop[1]))


def _dominates(node: int, other: int, above: Mapping[int, int], number: Mapping[int, int], effort: Effort) -> bool:
    while number[other] < number[node] and effort.spend(1):
        other = above[other]
    return other == node


def _postorder(ways: Mapping[int, Sequence[int]], root: int) -> list[int]:
    order, seen = [], {root}
    stack = [(root, iter(ways[root]))]
    while stack:
        node, rest = stack[-1]
        for target in rest:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(ways.get(target, ()))))
                break
        else:
            stack.pop()
            order.append(node)
    return order
