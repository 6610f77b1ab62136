"""Adding a row: typed values, YAML and run folders become a proposal with its doubts; a refusal changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from thinresnet.errors import InputError
from thinresnet.leaderboard.adding import Proposal, add, propose, propose_all, propose_run
from thinresnet.leaderboard.check import check
from thinresnet.leaderboard.papers import Paper, bib_beside, read_bib
from thinresnet.leaderboard.references import may_be_the_bar
from thinresnet.leaderboard.schema import Entry
from thinresnet.leaderboard.store import read_board

TYPED = {
    "paper": "lin2020hrank",
    "dataset": "imagenet",
    "arch": "resnet50",
    "method": "HRank, third model",
    "family": "pruned",
    "top1": "69.10",
    "dense_top1": "76.15",
    "macs": "0.98G",
    "dense_macs": "4.09G",
    "params": "8.27M",
    "locator": "Table 4, row 3",
    "read_repo": "lmbxmu/HRank",
}
NEW_PAPER = "@inproceedings{doe2027thin, title = {Thin \\& Quick}, year = {2027}, booktitle = {CVPR}}"


@pytest.fixture
def known(board: Path) -> tuple[list[Entry], dict[str, Paper]]:
    return read_board(board), read_bib(bib_beside(board))


def test_typed_values_become_a_row_that_the_check_accepts(board: Path, known: tuple) -> None:
    proposal = propose(TYPED, *known)
    assert proposal.doubts == ()
    entry = proposal.entry
    assert (entry.top1_printed, entry.cost_printed_g, entry.params_printed_m) == (
        Decimal("69.10"),
        Decimal("0.98"),
        Decimal("8.27"),
    )
    assert (entry.cost_unit, entry.source, entry.hand) == ("macs", "published", "first")
    assert entry.id.startswith("lin2020hrank-resnet50-")
    assert add(board, [proposal]) == [entry]
    assert entry in read_board(board)
    assert not check(board)


@pytest.mark.parametrize(
    ("typed", "column", "written"),
    [
        ({"macs": "2.05G"}, "cost_printed_g", "2.05"),
        ({"macs": "512M"}, "cost_printed_g", "0.512"),
        ({"macs": "4089184256"}, "cost_printed_g", "4.089184256"),
        ({"params": "853018"}, "params_printed_m", "0.853018"),
        ({"params": "850k"}, "params_printed_m", "0.850"),
        ({"macs": "2.05 GMACs"}, "cost_printed_g", "2.05"),
        ({"macs": "2.07B"}, "cost_printed_g", "2.07"),
        ({"params": "12.5m parameters"}, "params_printed_m", "12.5"),
    ],
)
def test_amounts_move_the_point_and_no_digit(known: tuple, typed: dict[str, str], column: str, written: str) -> None:
    entry = propose({**TYPED, "dense_macs": "", **typed}, *known).entry
    assert format(getattr(entry, column), "f") == written


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top1": "76,1"}, "top1_printed: '76,1'"),
        ({"top1": "nan"}, "top1_printed"),
        ({"macs": "2,05G"}, "macs: '2,05G' is not an amount such as 2.05G"),
        ({"macs": "2.07"}, "macs: '2.07' has no unit; write 2.07G for billions .2.07B is the same., or the exact"),
        ({"params": "12.5"}, "params: '12.5' has no unit; write 12.5M for millions, or the exact count"),
        ({"macs": "50%"}, "macs: '50%' is a share; give it as cost_kept_pct .what stays. or cost_cut_pct"),
        ({"params": "12.5 GMACs"}, "params: '12.5 GMACs' counts something else"),
        ({"macs": "2.05 GFLOPs", "dense_macs": ""}, "FLOPs are MACs in some papers and two a MAC in others"),
        ({"top-1": "76.1"}, "'top-1' is not a column.*top1"),
        ({"arch": "resnet5o"}, "did you mean 'resnet50'"),
        ({"paper": "lin2020hrnk"}, "did you mean 'lin2020hrank'"),
        ({"paper": ""}, "paper"),
        ({"method": "=cmd|'/c calc'!A1"}, "formula"),
        ({"top1": ""}, "a row has an accuracy"),
        ({"top1_printed": "70"}, "given twice"),
        ({"train_epochs": "90"}, "train_epochs"),
        ({"evidence": "baselines/results/x"}, "evidence"),
        ({"source": "measured"}, "empty for a measured row"),
        ({"id": "Row 1"}, "id"),
    ],
)
def test_a_broken_rule_is_refused_in_one_line(known: tuple, changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        propose({**TYPED, **changes}, *known)
    assert "\n" not in str(refused.value)


DOUBTS = {
    "a near copy": ({"top1": "74.95", "macs": "2.31G"}, "a near copy of row lin2020hrank-resnet50-000001", ""),
    "a cut that does not fit": ({"cost_cut_pct": "60.0"}, "cost_cut_pct", "cost-doubtful"),
    "a speed-up that does not fit": ({"speedup_x": "3"}, "speedup_x", "cost-doubtful"),
    "parameters that do not fit": ({"dense_params": "25.5M", "params_cut_pct": "10"}, "params_cut", "params-doubtful"),
    "a drop that does not fit": ({"top1_drop": "0.70"}, "top1_drop_printed", "drop-doubtful"),
    "a fraction": ({"top1": "0.759"}, "0.759 is a fraction? In percent it is 75.9", "accuracy-doubtful"),
    "a dense fraction": ({"dense_top1": "0.7615"}, "dense_top1_printed 0.7615 is a fraction", "accuracy-doubtful"),
    "more than dense": ({"macs": "4.50G"}, "MACs of a pruned network are 1.1 times those", "cost-doubtful"),
    "more parameters": ({"params": "27.1M"}, "parameters of a pruned network are 1.06 times", "params-doubtful"),
    "a thousandth": ({"macs": "0.98M"}, "MACs are 0.00024 of those of dense resnet50", "cost-doubtful"),
    "twice the dense cost": ({"macs": "2.0G", "dense_macs": "8.2G"}, "cost_unit is 2-per-mac", "cost-doubtful"),
    "an accuracy out of range": ({"top1": "97.10"}, "top1_printed", "accuracy-doubtful"),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_what_is_odd_is_asked_and_flagged_once_accepted(board: Path, known: tuple, case: str) -> None:
    changes, said, flag = DOUBTS[case]
    proposal = propose({**TYPED, **changes}, *known)
    assert [said in doubt.question for doubt in proposal.doubts] == [True]
    assert proposal.doubts[0].flag == flag
    (entry,) = add(board, [proposal])
    assert entry.flags == ((flag,) if flag else ())
    assert bool(entry.note) == bool(flag)
    assert not check(board)


@pytest.mark.parametrize(("dense", "unit"), [("4.09 GFLOPs", "macs"), ("8.2 GFLOPs", "2-per-mac")])
def test_what_flops_count_is_told_by_the_dense_network(known: tuple, dense: str, unit: str) -> None:
    entry = propose({"macs": "1.00 GFLOPs", "dense_macs": dense, **TYPED, "cost_unit": ""}, *known).entry
    assert entry.cost_unit == "macs"  # TYPED has its own figures in MACs
    entry = propose({**TYPED, "macs": "1.00 GFLOPs", "dense_macs": dense}, *known).entry
    assert (entry.cost_unit, entry.cost_printed_g) == (unit, Decimal("1.00"))


def test_names_may_stand_in_any_order(known: tuple) -> None:
    typed = {**TYPED, "cost_unit": "2-per-mac", "dense_macs": "8.2G", "macs": "2.0G"}
    one, other = propose(typed, *known), propose(dict(reversed(typed.items())), *known)
    assert one == other
    assert one.entry.cost_unit == "2-per-mac"


def test_many_rows_are_held_against_one_another_and_refused_as_one(board: Path, known: tuple) -> None:
    rows = [TYPED, {**TYPED, "top1": "71.05", "macs": "1.3G"}, {**TYPED, "top1": "71.08", "macs": "1.31G"}]
    proposals = propose_all(rows, *known)
    assert [len(each.doubts) for each in proposals] == [0, 0, 1]
    assert "a near copy of row" in proposals[2].doubts[0].question
    with pytest.raises(InputError, match=r"rows\.yaml, row 2: top1_printed: 'x'"):
        propose_all([TYPED, {**TYPED, "top1": "x"}], *known, where="rows.yaml")
    before = board.read_bytes()
    with pytest.raises(InputError, match="has the same figures already"):
        add(board, propose_all([*rows, TYPED], *known))
    assert board.read_bytes() == before
    assert len(add(board, proposals)) == 3
    assert not check(board)


def test_a_paper_of_many_rows_comes_once(board: Path, known: tuple) -> None:
    rows = [{**TYPED, "paper": "", "bibtex": NEW_PAPER, "top1": top1} for top1 in ("70.1", "72.2")]
    add(board, propose_all(rows, *known))
    assert [entry.paper for entry in read_board(board)].count("doe2027thin") == 2
    assert not check(board)


def test_an_exact_copy_is_asked_about_and_never_added_twice(board: Path, known: tuple) -> None:
    proposal = propose(TYPED, *known)
    add(board, [proposal])
    again = propose({**TYPED, "locator": "another table", "hand": "second"}, read_board(board), known[1])
    assert "an exact copy" in again.doubts[0].question
    before = board.read_bytes()
    with pytest.raises(InputError, match="has the same figures already"):
        add(board, [again])
    with pytest.raises(InputError, match="is taken by another row"):
        add(board, [propose({**TYPED, "top1": "70.2", "id": proposal.entry.id}, *known)])
    assert board.read_bytes() == before


def test_a_new_paper_comes_with_its_bibtex(board: Path, known: tuple) -> None:
    proposal = propose({**TYPED, "paper": ""}, *known, bibtex=NEW_PAPER)
    assert proposal.entry.paper == "doe2027thin"
    add(board, [proposal])
    assert read_bib(bib_beside(board))["doe2027thin"].title == "Thin & Quick"
    assert not check(board)


@pytest.mark.parametrize(
    ("bibtex", "said"),
    [
        ("@misc{x", "BibTeX, line 1"),
        ("% nothing", "no entry"),
        ("@misc{lin2020hrank, title = {Another}}", "the key of another paper already"),
        (r"@misc{abc, title = {\input{/etc/passwd}}}", "TeX commands"),
    ],
)
def test_bibtex_from_a_stranger_is_refused_in_one_line(known: tuple, bibtex: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        propose(TYPED, *known, bibtex=bibtex)


def test_a_paper_under_a_second_key_is_asked_about(known: tuple) -> None:
    twin = "@misc{lin20, title = {Hrank: Filter pruning using high-rank feature map}}"
    proposal = propose({**TYPED, "paper": "lin20"}, *known, bibtex=twin)
    assert ["looks like lin2020hrank" in doubt.question for doubt in proposal.doubts] == [True]


def test_all_proposals_or_none(board: Path, known: tuple) -> None:
    good, bad = propose(TYPED, *known), propose({**TYPED, "top1": "70.3"}, *known)
    before = board.read_bytes(), bib_beside(board).read_bytes()
    taken = Proposal(replace(known[0][0], locator="another table"))
    with pytest.raises(InputError):
        add(board, [good, bad, taken])
    assert (board.read_bytes(), bib_beside(board).read_bytes()) == before


def test_a_broken_board_is_not_written_over(board: Path, known: tuple) -> None:
    proposal = propose(TYPED, *known)
    board.write_text(board.read_text().replace("71.98", "nan"))
    before = board.read_bytes()
    with pytest.raises(InputError, match="line 3, column top1_printed"):
        add(board, [proposal])
    assert board.read_bytes() == before


@pytest.fixture
def runs(tmp_path: Path, write_run: Callable[..., None]) -> Callable[..., list[Path]]:
    """Folders of finished runs."""

    def folders(*results: dict[str, object]) -> list[Path]:
        made = []
        for result in results:
            folder = tmp_path / "runs" / str(result["run"])
            write_run(folder, result)
            made.append(folder)
        return made

    return folders


def test_seeds_of_a_run_become_one_measured_row(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    folders = runs(*(run_result(seed=seed, correct=correct) for seed, correct in ((1, 324), (2, 333), (3, 342))))
    proposal = propose_run(folders, known[0])
    entry = proposal.entry
    # 324, 333 and 342 of 360 are 90, 92.5 and 95 %: mean 92.5, sample deviation 2.5.
    assert (entry.top1_printed, entry.top1_std, entry.n) == (Decimal("92.500"), Decimal("2.500"), 3)
    assert (entry.source, entry.family, entry.dataset, entry.train_epochs) == ("measured", "scaled", "digits", 20)
    assert entry.macs_g == pytest.approx(0.00064)
    assert entry.macs_ratio == pytest.approx(640 / 2530)
    assert entry.params_m == pytest.approx(0.068)
    assert entry.training_macs == pytest.approx(3 * 640_000 * 1437 * 20)
    add(board, [proposal])
    assert not check(board)
    kept = sorted(path.name for path in (board.parent / entry.evidence / folders[0].name).iterdir())
    assert kept == ["metrics.csv", "network.json", "recipe.yaml", "result.json"]
    before = board.read_bytes()
    assert add(board, [proposal]) == []  # the same command again, after a kill perhaps
    assert board.read_bytes() == before


def test_what_is_read_of_a_run_is_what_a_run_writes(run_result: Callable[..., dict[str, object]]) -> None:
    from thinresnet.result import Result

    given = run_result()
    written = Result.from_json(given, Path(), "result.json").to_json()
    assert {name: written[name] for name in given} == given


def test_few_classes_have_no_top5(
    known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    assert propose_run(runs(run_result(correct5_test=None)), known[0]).entry.top5 is None


def test_the_average_of_weights_has_its_own_row(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    folders = runs(run_result(correct=324))
    plain, averaged = propose_run(folders, known[0]), propose_run(folders, known[0], ema=True)
    assert averaged.entry.method.endswith(" (EMA)")
    assert averaged.entry.top1_printed == Decimal("91.389")
    assert averaged.entry.evidence != plain.entry.evidence
    add(board, [plain, averaged])
    assert not check(board)


def test_a_tuned_run_is_pruned_and_its_author_says_the_rest(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    folders = runs(run_result(shape="found.json", initial_checkpoint={"path": "x", "sha256": "0"}))
    entry = propose_run(folders, known[0], values={"method": "L1", "dense_epochs": "160", "prune_epochs": "0"}).entry
    assert (entry.family, entry.tune_epochs, entry.dense_epochs, entry.train_epochs) == ("pruned", 20, 160, None)
    with pytest.raises(InputError, match="does not tell the family"):
        propose_run(runs(run_result(seed=9, shape="found.json")), known[0])
    with pytest.raises(InputError, match="not typed by hand"):
        propose_run(folders, known[0], values={"top1": "99"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"correct1_test": 361}, "correct1_test: 361 of 360 images"),
        ({"correct1_test": "324"}, "correct1_test: takes an integer, at least 0, got '324'"),
        ({"correct1_test": None}, "correct1_test: takes an integer"),
        ({"macs": True}, "macs: takes an integer"),
        ({"dataset": "cifar-10"}, "dataset: takes one of"),
        ({"format": 2}, "not a result of format 1"),
        ({"classes": 5}, "classes: takes 10 for digits, got 5"),
        ({"training_macs": "many"}, "training_macs: takes an integer"),
        ({"recipe": 5}, "recipe: takes a string, got 5"),
        ({"recipe": "=1+1"}, "formula"),
        ({"arch": "resnet20"}, "a counted architecture"),
    ],
)
def test_a_result_that_cannot_be_is_refused(
    board: Path, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]], changes: dict, said: str
) -> None:
    before = board.read_bytes()
    with pytest.raises(InputError, match=said):
        add(board, [propose_run(runs(run_result(**changes)), read_board(board))])
    assert board.read_bytes() == before
    assert not (board.parent / "baselines").exists()


def test_a_distilled_run_has_its_teacher_and_no_full_training_cost(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    def taught(seed: int, **changes: object) -> dict[str, object]:
        teacher = {"name": "resnet20_cifar dense", "sha256": f"{seed}", "alpha": 0.9, "temperature": 4.0, **changes}
        return run_result(seed, run=f"distilled-s{seed}", teacher=teacher)

    alone, distilled = propose_run(runs(run_result()), known[0]), propose_run(runs(taught(1), taught(2)), known[0])
    entry = distilled.entry
    assert (entry.teacher, entry.train_epochs) == ("resnet20_cifar dense", 20)
    assert not may_be_the_bar(entry)
    assert entry.training_macs_printed_g is None  # the teacher's own training is not in the run
    assert alone.entry.teacher == ""
    assert alone.entry.evidence != entry.evidence
    add(board, [alone, distilled])
    assert not check(board)
    first, *others = runs(taught(3), run_result(4), taught(5, name="vgg16_cifar dense"), taught(6, alpha=0.5))
    for other in others:
        with pytest.raises(InputError, match=r"teacher: .*one row averages seeds of one run"):
            propose_run([first, other], known[0])
    with pytest.raises(InputError, match="teacher: a run's own figure is not typed by hand"):
        propose_run([others[0]], known[0], values={"teacher": "resnet50"})


def test_a_teacher_that_the_evidence_does_not_have_is_found(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    proposal = propose_run(runs(run_result()), known[0])
    add(board, [replace(proposal, entry=replace(proposal.entry, teacher="resnet50"))])
    assert [problem.column for problem in check(board)] == ["teacher"]


def test_runs_that_are_not_one_are_not_averaged(
    runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    one, two, three = runs(run_result(1), run_result(2, recipe_hash="ee" * 32), run_result(1, run="copy"))
    with pytest.raises(InputError, match=r"recipe_hash.*one row averages seeds of one run"):
        propose_run([one, two], [])
    with pytest.raises(InputError, match="the same seed twice"):
        propose_run([one, three], [])
    with pytest.raises(InputError, match="not a folder"):
        propose_run([tmp_path / "nowhere"], [])
    (one / "result.json").unlink()
    with pytest.raises(InputError, match="the run is unfinished"):
        propose_run([one], [])
    (two / "result.json").write_text('{"format": 1, "macs": NaN}')
    with pytest.raises(InputError, match="NaN is not a JSON number"):
        propose_run([two], [])
    (two / "result.json").write_text("{")
    with pytest.raises(InputError, match="line 1: not valid JSON"):
        propose_run([two], [])


def test_evidence_of_one_row_is_never_mixed_with_anothers(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    one, two, three = runs(run_result(1, 320), run_result(2, 330), run_result(3, 340))
    first = propose_run([one, two], known[0])
    stranger = board.parent / first.entry.evidence / "notes"
    stranger.mkdir(parents=True)
    with pytest.raises(InputError, match="other evidence stands there already"):
        add(board, [first])
    stranger.rmdir()
    # What an addition that was killed has left is taken as it is.
    shutil.copytree(one, board.parent / first.entry.evidence / one.name, ignore=shutil.ignore_patterns("*.safetensors"))
    add(board, [first])
    assert not check(board)
    before = board.read_bytes()
    for more in ([three], [one, two, three]):
        with pytest.raises(InputError, match="averages seeds of this run already"):
            add(board, [propose_run(more, known[0])])
    assert board.read_bytes() == before
    assert not check(board)


def test_evidence_keeps_the_folders_of_the_machine_to_itself(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    checkpoint = {"path": "/home/me/runs/first/model.safetensors", "sha256": "0"}
    command = [
        "train.py",
        "--data-dir",
        "C:\\me\\my images",
        "--output=/home/me/runs/",
        "--dataset",
        "torch/cifar10",
        "/",
    ]
    (folder,) = runs(run_result(initial_checkpoint=checkpoint, command=command))
    text = (folder / "recipe.yaml").read_text().replace("data_dir: ''", "data_dir: '/home/me/my images'")
    (folder / "recipe.yaml").write_text(text)
    proposal = propose_run([folder], known[0], values={"method": "L1", "dense_epochs": "1", "prune_epochs": "0"})
    (entry,) = add(board, [proposal])
    kept = board.parent / entry.evidence / folder.name
    assert (kept / "recipe.yaml").read_text() == text.replace("/home/me/my images", "my images").replace(
        "'my images'", "my images"
    )
    said = json.loads((kept / "result.json").read_text())
    assert said["initial_checkpoint"] == {"path": "model.safetensors", "sha256": "0"}
    assert said["command"] == [
        "train.py",
        "--data-dir",
        "my images",
        "--output=runs",
        "--dataset",
        "torch/cifar10",
        "/",
    ]
    before = json.loads((folder / "result.json").read_text())
    assert {**said, "initial_checkpoint": 0, "command": 0} == {**before, "initial_checkpoint": 0, "command": 0}
    assert not check(board)


def test_seeds_that_found_shapes_of_their_own_at_initialisation_are_one_row(
    known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    one, two = run_result(1, 320, shape="synflow-init"), run_result(2, 330, shape="synflow-init", params=67_000)
    found = propose_run(
        runs(one, {**two, "network_sha256": "1" * 64}), known[0], values={"family": "init", "method": "x"}
    )
    assert (found.entry.n, found.entry.params_m) == (2, pytest.approx(0.068))


def test_a_link_in_a_run_folder_takes_no_file_along(
    board: Path, known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    (folder,) = runs(run_result())
    secret = board.with_name("secret")
    secret.write_text("secret")
    (folder / "metrics.csv").unlink()
    (folder / "metrics.csv").symlink_to(secret)
    with pytest.raises(InputError, match=r"metrics\.csv: no such file"):
        propose_run([folder], known[0])


def test_seeds_of_a_pruning_may_have_shapes_of_their_own(
    known: tuple, runs: Callable[..., list[Path]], run_result: Callable[..., dict[str, object]]
) -> None:
    shapes = ({"network_sha256": "ab" * 32, "macs": 640_000}, {"network_sha256": "ef" * 32, "macs": 630_000})
    folders = runs(*(run_result(seed=seed, **shape) for seed, shape in enumerate(shapes)))
    entry = propose_run(folders, known[0], values={"family": "scratch", "method": "L1, Scratch-E"}).entry
    assert (entry.n, entry.cost_printed_g) == (2, Decimal("0.00064"))
    with pytest.raises(InputError, match="network_sha256"):
        propose_run(folders, known[0], values={"family": "scaled"})
