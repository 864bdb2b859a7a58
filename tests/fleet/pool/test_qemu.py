"""The -cpu value that an answer holds, expanded by a real QEMU: it has the pool's identity and every bit as it says."""

from __future__ import annotations

import pytest

from archcaps.fleet.pool.answer import Wish, pool
from archcaps.guest_cpu.formats import read_configuration
from archcaps.tables import qemu as tables
from archcaps.tables.bits import BITS
from tests.fleet.pool.pools import example
from tests.guest_cpu.qemus import PROGRAM, needs_qemu, release
from tools.qemu.record import Qemu

pytestmark = needs_qemu

CLX, ICX = "firecracker-t2s/host-cascade-lake", "firecracker-t2s/host-ice-lake"
SPR_OFF, SPR_ON = (f"fb-clear-to-sapphire-rapids/host-tsx-{state}" for state in ("off", "on"))


@pytest.mark.parametrize("names", [(CLX, ICX), (CLX, SPR_OFF), (SPR_ON,), ("tsa-no-always/host",)])
def test_qemu_expands_the_value_to_the_pools_cpu(names: tuple[str, ...]) -> None:
    result = pool([example(name) for name in names], Wish(release=release()))
    text = next(document.text for document in result.documents if document.vmm == "qemu")
    asked = read_configuration(text, "the test", "qemu")
    assert asked.check == "enforce"
    numbers = {"family": asked.identity.family, "model": asked.identity.model, "stepping": asked.identity.stepping}
    given = {name: value for name, value in numbers.items() if value is not None}
    assert PROGRAM is not None
    with Qemu(PROGRAM) as qemu:
        properties = {**{switch.name: switch.on for switch in asked.switches}, **given}
        model = {"name": asked.model, "props": properties}
        answer = qemu("query-cpu-model-expansion", type="full", model=model)["model"]["props"]
    one = result.identity
    assert (answer["family"], answer["model"], answer["stepping"]) == (one.family, one.model, one.stepping)
    numbers_of_release = tables.parse_release(release())
    assert numbers_of_release is not None
    compared = 0
    for bit in result.bits:
        name = BITS[bit.name].names.get("qemu")
        known = tables.properties().get(name) if name else None
        if known is not None and known.span.has(numbers_of_release) and bit.name != "hypervisor":
            assert answer[known.name] is bit.shown, bit
            compared += 1
    assert compared > 20
