"""Device, precision, threads, and randomness that depends on its key alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.errors import MachineError
from cifarlab.machine import process, randomness
from cifarlab.machine.runtime import Runtime, as_begun, cpu_name, resolve
from cifarlab.machine.tier import tier
from cifarlab.recipe.schema import RuntimeSpec

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def forget_tier() -> Iterator[None]:
    """A test that changes what the CPU can do leaves no tier behind."""
    tier.cache_clear()
    yield
    tier.cache_clear()


def draw(*key: int) -> list[int]:
    return torch.randint(2**31, (4,), generator=randomness.generator(CPU, *key)).tolist()


# Randomness


@given(st.lists(st.integers(0, 2**63), max_size=4))
def test_t29_a_generator_depends_on_its_key_alone(key: list[int]) -> None:
    first = draw(*key)
    torch.manual_seed(123)
    torch.rand(7)
    assert draw(*key) == first


def test_a_generator_leaves_the_global_one_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draw(1, 2, 3)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("other", [(1, 2), (2, 1, 3), (1, 2, 4), (1, 2, 3, 0), (0, 1, 2, 3), (1, 5), (6,)])
def test_keys_that_differ_give_other_streams(other: tuple[int, ...]) -> None:
    assert draw(1, 2, 3) != draw(*other)


def test_mix_key_has_no_collision_among_seeds_and_steps() -> None:
    keys = {randomness.mix_key(seed, step) for seed in range(100) for step in range(2000)}
    assert len(keys) == 200_000
    assert all(0 <= key < 2**63 for key in list(keys)[:1000])


def test_mix_key_is_splitmix64() -> None:
    """One part is one step of splitmix64, whose first output from state 0 is published."""
    assert randomness.mix_key(0) == 0xE220A8397B1DCDAF >> 1


def test_neighbouring_keys_share_half_of_their_bits() -> None:
    shared = [63 - (randomness.mix_key(0, step) ^ randomness.mix_key(0, step + 1)).bit_count() for step in range(1000)]
    assert 30 < sum(shared) / 1000 < 33


# What a spec becomes


def test_resolve_takes_what_is_asked_for() -> None:
    spec = RuntimeSpec(device="cpu", precision="fp32", memory_format="contiguous", compile="on", threads=1)
    found = resolve(spec)
    assert found == Runtime(CPU, "fp32", channels_last=False, compile=True, threads=1, tier=tier())


def test_n58_the_process_has_its_own_number_of_threads_again() -> None:
    torch.set_num_threads(2)
    found = resolve(RuntimeSpec(device="cpu", precision="fp32", threads=3))
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), found.in_use():
        assert torch.get_num_threads() == 3
        raise KeyError
    assert torch.get_num_threads() == 2
    with resolve(RuntimeSpec(device="cpu", precision="fp32", threads=2)).in_use():
        torch.set_num_threads(1)  # by somebody else: what this block has not set it does not restore
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_lower_precision_is_used_inside_autocast_only(precision: str, dtype: torch.dtype) -> None:
    found = Runtime(CPU, precision, channels_last=True, compile=False, threads=1)
    assert found.dtype == dtype
    assert found.memory_format == torch.channels_last
    matrix = torch.ones(2, 2)
    with found.autocast():
        assert (matrix @ matrix).dtype == dtype
    assert (matrix @ matrix).dtype == torch.float32


def test_full_precision_changes_nothing() -> None:
    found = Runtime(CPU, "fp32", channels_last=False, compile=False, threads=1)
    with found.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    found.synchronise()


@pytest.mark.parametrize(
    ("found", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"neon": True, "bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_n30_auto_precision_follows_from_what_the_cpu_is(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert resolve(RuntimeSpec(device="cpu", threads=1, kernels="off")).precision == precision


def test_n30_without_the_library_that_multiplies_in_bf16_it_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})
    assert resolve(RuntimeSpec(device="cpu", threads=1, kernels="off")).precision == "fp32"


@pytest.mark.parametrize("kernels", ["on", "off", "The CPU kernels are not there: no compiler."])
def test_n30_a_run_goes_on_as_it_began(kernels: str) -> None:
    began = Runtime(CPU, "fp16", channels_last=False, compile=True, threads=7, kernels=kernels)
    spec = as_begun(RuntimeSpec(tensorboard=False), began.describe())
    wanted = {"precision": "fp16", "memory_format": "contiguous", "compile": "on", "threads": 7, "tensorboard": False}
    assert spec.model_dump(include={*wanted, "device", "kernels"}) == {
        "device": "cpu",
        "kernels": "on" if kernels == "on" else "off",
        **wanted,
    }


def test_threads_are_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(process.os, "sched_getaffinity", lambda _: {0, 1, 2})
    spec = RuntimeSpec(device="cpu", precision="fp32")
    assert resolve(spec).threads == 3
    assert resolve(spec.model_copy(update={"threads": 2})).threads == 2
    monkeypatch.delattr(process.os, "sched_getaffinity")
    monkeypatch.setattr(process.os, "cpu_count", lambda: None)
    assert resolve(spec).threads == 1
    assert resolve(spec.model_copy(update={"threads": 2})).threads == 2


@pytest.mark.parametrize(("asked", "threads"), [("2", 2), ("0", 3), ("many", 3), ("", 3)])
def test_threads_are_those_that_omp_num_threads_asks_for(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    monkeypatch.setattr(process.os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert resolve(RuntimeSpec(device="cpu", precision="fp32")).threads == threads


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cuda:-1", "cpu cpu", "tpu"])
def test_c11_a_device_of_no_known_kind_lists_the_kinds(name: str) -> None:
    with pytest.raises(MachineError, match="Allowed: auto, cpu, cuda"):
        resolve(RuntimeSpec(device=name, precision="fp32", threads=1))


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "mps", "meta", "xpu"])
def test_c11_a_device_that_is_absent_says_what_there_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(MachineError, match=rf"{name} is not there\. Found: cpu\."):
        resolve(RuntimeSpec(device=name, precision="fp32", threads=1))


def test_c11_auto_takes_the_cpu_when_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve(RuntimeSpec(precision="fp32", threads=1)).device == CPU


def test_describe_can_be_written_as_json() -> None:
    facts = resolve(RuntimeSpec(device="cpu", precision="fp32", threads=1)).describe()
    assert facts["device"] == "cpu"
    assert facts["device_name"]
    assert all(isinstance(value, str | int | bool) for value in facts.values())


def test_the_network_is_seeded_by_the_key_alone() -> None:
    def draw(*key: int) -> list[float]:
        randomness.seed_network(torch.device("cpu"), *key)
        return torch.nn.functional.dropout(torch.ones(64)).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(1, 3)


CPUINFO = """\
processor	: 0
vendor_id	: {}
cpu family	: {}
model		: {}
model name	: {}
stepping	: 1

processor	: 1
model name	: another
"""


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (("AuthenticAMD", 25, 1, "AMD EPYC 7763 64-Core Processor"), "AMD EPYC 7763 64-Core Processor (Zen 3)"),
        (("AuthenticAMD", 25, 17, "AMD EPYC"), "AMD EPYC (Zen 4)"),
        (("AuthenticAMD", 25, 97, "AMD Ryzen 9 7950X"), "AMD Ryzen 9 7950X (Zen 4)"),
        (("AuthenticAMD", 26, 2, "AMD EPYC"), "AMD EPYC (Zen 5)"),
        (("AuthenticAMD", 26, 68, "AMD Ryzen 7 9700X"), "AMD Ryzen 7 9700X (Zen 5)"),
        (("AuthenticAMD", 26, 80, "AMD EPYC"), "AMD EPYC"),  # Zen 6
        (("GenuineIntel", 6, 143, "Intel(R) Xeon(R)"), "Intel(R) Xeon(R)"),
    ],
)
def test_the_generation_of_a_cpu_of_amd_is_named(facts: tuple[str | int, ...], name: str) -> None:
    assert cpu_name(CPUINFO.format(*facts)) == name


def test_a_cpu_without_a_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        cpu_name("processor\t: 0\nCPU implementer\t: 0x41\n")
