"""BibTeX as sites print it is read into the board's form; what would run in a reader's LaTeX is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.errors import InputError
from thinresnet.leaderboard.bibtex import arxiv_paper, read_bibtex
from thinresnet.leaderboard.papers import Paper, parse_bib

CVF = """@InProceedings{Lin_2020_CVPR,
author = {Lin, Mingbao and Ji, Rongrong and Wang, Yan},
title = {HRank: Filter Pruning Using High-Rank Feature Map},
booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
month = {June},
year = {2020}
}"""
DBLP = """@inproceedings{DBLP:conf/cvpr/LinJWZZTS20,
  author       = {Mingbao Lin and
                  Rongrong Ji and
                  Yan Wang},
  title        = {HRank: Filter Pruning Using High-Rank Feature Map},
  booktitle    = {2020 {IEEE/CVF} Conference on Computer Vision and Pattern Recognition,
                  {CVPR} 2020, Seattle, WA, USA, June 13-19, 2020},
  pages        = {1526--1535},
  publisher    = {Computer Vision Foundation / {IEEE}},
  year         = {2020},
  url          = {https://openaccess.thecvf.com/content\\_CVPR\\_2020/html/HRank.html},
  doi          = {10.1109/CVPR42600.2020.00160},
  timestamp    = {Tue, 31 Aug 2021 14:00:04 +0200},
  biburl       = {https://dblp.org/rec/conf/cvpr/LinJWZZTS20.bib},
  bibsource    = {dblp computer science bibliography, https://dblp.org}
}"""
CORR = """@article{DBLP:journals/corr/abs-2002-10179,
  author       = {Mingbao Lin and Rongrong Ji},
  title        = {HRank: Filter Pruning using High-Rank Feature Map},
  journal      = {CoRR},
  volume       = {abs/2002.10179},
  year         = {2020},
  url          = {https://arxiv.org/abs/2002.10179},
  eprinttype    = {arXiv},
  eprint       = {2002.10179}
}"""
OPENREVIEW = """@inproceedings{
liu2018rethinking,
title={Rethinking the Value of Network Pruning},
author={Zhuang Liu and Mingjie Sun and Tinghui Zhou},
booktitle={International Conference on Learning Representations},
year={2019},
url={https://openreview.net/forum?id=rJlnB3C5Ym},
note={}
}"""
SEMANTIC_SCHOLAR = """@article{Lin2020HRankFP,
  title={HRank: Filter Pruning Using High-Rank Feature Map},
  author={Mingbao Lin and Rongrong Ji},
  journal={2020 IEEE/CVF Conference on Computer Vision & Pattern Recognition (CVPR)},
  year={2020},
  pages={1526-1535},
  url={https://api.semanticscholar.org/CorpusID:211259090}
}"""
ACM = """@inproceedings{10.1145/3474085.3475229,
author = {M\\"{u}ller, Jos\\'{e}},
title = {Thin: 50% & faster},
year = {2021},
isbn = {9781450386517},
publisher = {Association for Computing Machinery},
address = {New York, NY, USA},
url = {https://doi.org/10.1145/3474085.3475229},
doi = {10.1145/3474085.3475229},
abstract = {We cost $5 and save 50% of {\\em everything} \\input{x}.},
booktitle = {Proceedings of the 29th ACM International Conference on Multimedia},
pages = {1},
numpages = {9},
keywords = {pruning, #1},
location = {Virtual Event, China},
month = oct,
issue_date = {October 2021},
series = {MM '21}
}"""
IEEE = """@INPROCEEDINGS{9156434,
  author={Lin, Mingbao},
  booktitle={2020 IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  title={HRank: Filter Pruning Using High-Rank Feature Map},
  year={2020},
  volume={},
  number={},
  pages={1526-1535},
  keywords={Convolution;Acceleration},
  doi={10.1109/CVPR42600.2020.00160}}"""
ARXIV = """@misc{lin2020hrank,
      title={HRank: Filter Pruning using High-Rank Feature Map},
      author={Mingbao Lin},
      year={2020},
      eprint={2002.10179},
      archivePrefix={arXiv},
      primaryClass={cs.CV},
      url={https://arxiv.org/abs/2002.10179},
}"""


def _one(text: str) -> Paper:
    (read,) = read_bibtex(text)
    # What is read here is what the board's strict reader takes.
    papers, faults = parse_bib(read.paper.bibtex)
    assert not faults
    assert papers == {read.paper.key: read.paper}
    return read.paper


@pytest.mark.parametrize(
    ("text", "key", "kind", "there", "gone"),
    [
        (CVF, "lin_2020_cvpr", "inproceedings", {"month": "June", "year": "2020"}, ()),
        (DBLP, "lin2020hrank", "inproceedings", {"doi": "10.1109/CVPR42600.2020.00160"}, ("timestamp", "biburl")),
        (CORR, "lin2020hrank", "article", {"eprint": "2002.10179", "archiveprefix": "arXiv"}, ("eprinttype",)),
        (
            OPENREVIEW,
            "liu2018rethinking",
            "inproceedings",
            {"url": "https://openreview.net/forum?id=rJlnB3C5Ym"},
            ("note",),
        ),
        (SEMANTIC_SCHOLAR, "lin2020hrankfp", "article", {"pages": "1526-1535"}, ("abstract",)),
        (
            ACM,
            "muller2021thin",
            "inproceedings",
            {"title": r"Thin: 50\% \& faster", "month": "oct"},
            ("abstract", "keywords"),
        ),
        (IEEE, "lin2020hrank", "inproceedings", {"pages": "1526-1535"}, ("volume", "number", "keywords")),
        (ARXIV, "lin2020hrank", "misc", {"eprint": "2002.10179", "primaryclass": "cs.CV"}, ()),
    ],
    ids=["CVF", "DBLP", "CoRR", "OpenReview", "Semantic Scholar", "ACM", "IEEE", "arXiv"],
)
def test_what_sites_print_is_read(text: str, key: str, kind: str, there: dict[str, str], gone: tuple[str, ...]) -> None:
    paper = _one(text)
    assert (paper.key, paper.kind) == (key, kind)
    assert {name: paper.fields.get(name) for name in there} == there
    assert not set(gone) & set(paper.fields)
    assert _one(f"\ufeff```bibtex\n{text}\n```\n") == paper
    assert read_bibtex(paper.bibtex)[0].paper == paper


def test_the_printed_key_is_known_too() -> None:
    assert [each.printed_key for each in read_bibtex(DBLP + "\n\n" + OPENREVIEW)] == [
        "DBLP:conf/cvpr/LinJWZZTS20",
        "liu2018rethinking",
    ]


@pytest.mark.parametrize("name", ["journal", "note", "url", "howpublished"])
def test_the_number_of_a_preprint_is_found_where_it_stands(name: str) -> None:
    value = "https://arxiv.org/abs/2309.12854" if name == "url" else "arXiv preprint arXiv:2309.12854"
    assert _one(f"@misc{{abc, title = {{A}}, year = {{2023}}, {name} = {{{value}}}}}").eprint == "2309.12854"


def test_a_broken_link_is_left_out_and_the_paper_stays() -> None:
    assert "url" not in _one("@misc{abc, title = {A}, url = {see my page}}").fields


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r"@misc{abc, title = {\input{/etc/passwd}}}", "TeX commands"),
        ("@misc{abc, year = {2020}}", "title"),
        ("@misc{abc, title = {A}, year = {20}}", "year"),
        ("@misc{abc, title = {A}", "BibTeX, line 1"),
        ("@string{x = {y}}", "BibTeX"),
        ("@misc{abc, title = {costs $5}}", "safe for TeX"),
        ("just words", "an entry such as"),
        ("% nothing", "no entry"),
    ],
)
def test_what_cannot_be_put_right_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read_bibtex(text)
    assert "\n" not in str(refused.value)


@given(st.text(st.sampled_from('@misc{abc,title=}"\\%&_$#^ \n1eprint'), max_size=60))
def test_any_text_is_a_paper_or_a_refusal(text: str) -> None:
    try:
        read = read_bibtex(text)
    except InputError:
        return
    for each in read:
        assert not parse_bib(each.paper.bibtex)[1]


def test_a_preprint_from_its_number() -> None:
    paper = arxiv_paper("2002.10179", "HRank: 50% less", "Mingbao Lin and Rongrong Ji")
    assert (paper.key, paper.year, paper.eprint) == ("lin2020hrank", 2020, "2002.10179")
    assert paper.title == "HRank: 50% less"
    with pytest.raises(InputError, match="not a number such as"):
        arxiv_paper("hep-th/9901001", "A")
