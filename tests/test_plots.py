from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from eval.report.drawing import Axis, Box, fit, linear_ticks, log_axis, log_ticks, place_labels, spread, text_width
from eval.report.plots import (
    FULL,
    HALF,
    NARROW,
    interval_plot,
    pareto_front,
    quality_latency_plot,
    scaling_plot,
    stage_plot,
)
from tests.benchmark_results import MEASURE, SKILL, make_results

SYSTEMS = make_results().protocols["clean"].systems


def _elements(svg: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(tag))


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in _elements(svg, "text")]


def test_the_front_is_what_no_other_beats_in_both() -> None:
    points = {"quick": (1.0, 0.5), "worse": (2.0, 0.4), "good": (3.0, 0.8), "slow": (9.0, 0.8), "best": (20.0, 0.9)}
    assert pareto_front(points) == ["quick", "good", "best"]
    assert pareto_front({"a": (1.0, 0.5), "b": (1.0, 0.6)}) == ["b"]
    assert pareto_front({}) == []


def test_dots_stand_at_their_time_and_quality() -> None:
    svg = quality_latency_plot(SYSTEMS, MEASURE)
    dots = {}
    for group in _elements(svg, "g"):
        title, circle = group.find("title"), group.find("circle")
        assert title is not None
        assert circle is not None
        dots[str(title.text).split(":")[0]] = float(circle.attrib["cx"]), float(circle.attrib["cy"])
    assert dots.keys() == SYSTEMS.keys()
    by_time = sorted(dots, key=lambda name: dots[name][0])
    by_quality = sorted(dots, key=lambda name: -dots[name][1])
    assert [SYSTEMS[name].times for name in by_time] == sorted(
        (system.times for system in SYSTEMS.values()), key=lambda times: times.p50 if times else 0
    )
    means = [SYSTEMS[name].intervals[MEASURE].mean for name in by_quality]
    assert means == sorted(means)


@pytest.mark.parametrize("width", [FULL, NARROW])
def test_every_system_has_a_label_and_nothing_leaves_the_picture(width: int) -> None:
    for svg in (quality_latency_plot(SYSTEMS, MEASURE, width), interval_plot(SYSTEMS, MEASURE, width)):
        assert set(SKILL) <= set(_texts(svg))
        for circle in _elements(svg, "circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width


@pytest.mark.parametrize("width", [FULL, NARROW])
def test_labels_cover_neither_each_other_nor_a_dot(width: int) -> None:
    points = {name: (40.0 + 23 * number % 60, 100.0 + 3 * number) for number, name in enumerate(SKILL)}
    labels = list(place_labels(points, [], Box(0, 0, width, 300)))
    assert [name for name, _, _ in labels] == list(points)
    for (_, one, _), (_, other, _) in combinations(labels, 2):
        assert one.overlap(other) == 0
    for _, box, _ in labels:
        assert not any(box.left < x < box.right and box.top < y < box.bottom for x, y in points.values())


LONG = {
    f"아주-긴-이름의-미세조정-모델-{number}-batch512+hybrid+rerank": system
    for number, system in enumerate(SYSTEMS.values())
}


@pytest.mark.parametrize("width", [FULL, HALF, NARROW])
def test_long_names_are_cut_to_the_room_there_is_and_told_whole_when_pointed_at(width: int) -> None:
    scaling = make_results().scaling
    assert scaling is not None
    curves = scaling._replace(intervals=dict(zip(LONG, scaling.intervals.values(), strict=False)))
    plots = [plot(LONG, MEASURE, width) for plot in (quality_latency_plot, interval_plot)]
    for svg in (*plots, stage_plot(LONG, width), scaling_plot(curves, MEASURE, width)):
        labels = [element for element in _elements(svg, "text") if (element.text or "").startswith("아주")]
        assert labels
        for label in labels:
            assert text_width(str(label.text)) <= width / 2
            assert str(label.text).endswith("+rerank")
            assert (label.findtext("title") or label.text) in LONG
    across = [float(line.attrib["x2"]) - float(line.attrib["x1"]) for line in _elements(svg, "line")]
    assert max(across) > width / 4


def test_labels_without_room_are_left_out_rather_than_written_over_others() -> None:
    points = {f"system {number}": (60.0 + number, 50.0) for number in range(30)}
    boxes = [box for _, box, _ in place_labels(points, [], Box(0, 0, 160, 100))]
    assert 0 < len(boxes) < 30
    assert not any(one.overlap(other) for one, other in combinations(boxes, 2))


def test_a_label_keeps_its_beginning_and_its_end() -> None:
    assert fit("hybrid", 100) == "hybrid"
    assert fit("multilingual-e5-large+rerank", 100) == "multil…erank"
    assert text_width(fit("미세조정" * 20, 100)) <= 100


def test_lines_of_the_same_colour_are_dashed_differently() -> None:
    scaling = make_results().scaling
    assert scaling is not None
    lines = list(scaling.intervals.values())
    many = scaling._replace(intervals={f"s{number}": lines[number % len(lines)] for number in range(12)})
    classes = [group.attrib["class"] for group in _elements(scaling_plot(many, MEASURE), "g")]
    assert len(set(classes)) == 12


def test_the_best_is_first_among_the_intervals() -> None:
    texts = _texts(interval_plot(SYSTEMS, MEASURE))
    names = [text for text in texts if text in SKILL]
    assert names == sorted(SKILL, key=lambda name: -SYSTEMS[name].intervals[MEASURE].mean)
    assert f"{SYSTEMS[names[0]].intervals[MEASURE].mean:.3f}" in texts


def test_of_equally_good_systems_the_quickest_is_first_as_in_the_words_above() -> None:
    slow, quick = SYSTEMS["hybrid+rerank"], SYSTEMS["hybrid+rerank"]._replace(times=SYSTEMS["base"].times)
    texts = _texts(interval_plot({"slow": slow, "quick": quick}, MEASURE))
    assert texts.index("quick") < texts.index("slow")


def test_bars_are_as_long_as_their_stages() -> None:
    svg = stage_plot({"lexical+rerank": SYSTEMS["lexical+rerank"]})
    bars = {
        str(title.text).split(", ")[1].split(":")[0]: float(bar.attrib["width"])
        for bar in _elements(svg, "rect")
        if (title := bar.find("title")) is not None
    }
    times = SYSTEMS["lexical+rerank"].times
    assert times is not None
    assert list(bars) == ["encode", "lexical", "dense", "rerank", "other"]
    assert bars["rerank"] / bars["encode"] == pytest.approx(times.stages["rerank"] / times.stages["encode"], rel=0.01)


def test_curves_fall_as_the_records_do() -> None:
    scaling = make_results().scaling
    assert scaling is not None
    svg = scaling_plot(scaling, MEASURE)
    assert [text for text in _texts(svg) if text in SKILL] == list(scaling.intervals)
    lines = _elements(svg, "polyline")
    assert len(lines) == len(scaling.intervals)
    heights = [float(point.split(",")[1]) for point in lines[0].attrib["points"].split()]
    assert heights == sorted(heights)
    assert scaling_plot(scaling._replace(passages=[1]), MEASURE) == ""


def test_what_was_not_measured_is_not_drawn() -> None:
    tutorial = make_results().protocols["tutorial"].systems
    assert quality_latency_plot(tutorial, MEASURE) == ""
    assert stage_plot(tutorial) == ""
    assert interval_plot({}, MEASURE) == ""


def test_names_are_text_and_plots_have_no_ids() -> None:
    svg = interval_plot(SYSTEMS, MEASURE)
    assert "mine|&lt;b&gt;" in svg
    assert " id=" not in svg
    assert svg == interval_plot(SYSTEMS, MEASURE)


def test_ticks_are_round_and_inside() -> None:
    assert [text for _, text in linear_ticks(Axis(0.83, 1.0, 0, 300))] == ["0.85", "0.90", "0.95", "1.00"]
    assert [text for _, text in linear_ticks(Axis(0.0, 25.0, 0, 400))] == ["0", "5", "10", "15", "20", "25"]
    axis = log_axis([0.4, 300.0], 0, 800)
    assert [text for _, text in log_ticks(axis)] == ["0.5", "1", "2", "5", "10", "20", "50", "100", "200"]
    assert [text for _, text in log_ticks(axis._replace(end=150))] == ["1", "10", "100"]
    assert axis.place(axis.low) == 0
    assert axis.place(axis.high) == pytest.approx(800)


def test_places_are_spread_in_their_order() -> None:
    places = spread([10.0, 11.0, 200.0, 9.0], 0, 300)
    assert places[3] < places[0] < places[1] < places[2]
    assert places[0] - places[3] == places[1] - places[0] == 15
    squeezed = spread([5.0] * 10, 0, 90)
    assert min(squeezed) >= -1e-9
    assert max(squeezed) <= 90


def test_hangul_is_wider() -> None:
    assert text_width("한글") > text_width("ab")
