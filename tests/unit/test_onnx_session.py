"""ONNX models whose run another thread stops."""

import threading

import numpy as np
import pytest
from onnx import TensorProto, helper

from sca.onnx_session import StoppableRun, StoppedRunError, open_session


@pytest.fixture(scope="module")
def counting():
    """A model that counts to its input, one step of a loop at a time."""
    value = lambda name, kind=TensorProto.INT64: helper.make_tensor_value_info(name, kind, [])  # noqa: E731
    step = helper.make_graph(
        [helper.make_node("Add", ["before", "one"], ["after"]), helper.make_node("Identity", ["going"], ["goes_on"])],
        "step",
        [value("i"), value("going", TensorProto.BOOL), value("before")],
        [value("goes_on", TensorProto.BOOL), value("after")],
        [helper.make_tensor("one", TensorProto.INT64, [], [1])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["most", "true", "zero"], ["count"], body=step)],
        "count",
        [value("most")],
        [value("count")],
        [
            helper.make_tensor("true", TensorProto.BOOL, [], [True]),
            helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_session(model.SerializeToString())


def test_stopped_run_ends_and_the_model_runs_again(counting):
    run, began = StoppableRun(), threading.Event()
    timer = threading.Timer(0.05, lambda: (began.set(), run.stop()))
    timer.start()
    with pytest.raises(StoppedRunError):
        run.run(counting, {"most": np.array(1 << 60, np.int64)})  # for thousands of years
    assert began.is_set()
    timer.join()
    with pytest.raises(StoppedRunError):
        run.run(counting, {"most": np.array(3, np.int64)})
    assert StoppableRun().run(counting, {"most": np.array(3, np.int64)}) == [3]


def test_other_failures_are_those_of_the_model(counting):
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        StoppableRun().run(counting, {"most": np.array(3, np.int32)})
