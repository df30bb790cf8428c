"""The errors that the command line reports as one line."""


class ElutqError(Exception):
    """What went wrong and what to do about it, in one line."""


class ExportError(ElutqError):
    """The checkpoint cannot be exported."""


class CompileError(ElutqError):
    """elutq-compile cannot be found or failed."""


class TextError(ElutqError):
    """A text, its tokens or its tokenizer cannot be used."""


class FeedError(ElutqError):
    """An ONNX graph has an input that token ids cannot fill, or lacks an output."""


class ModelError(ElutqError):
    """An ONNX model cannot be read, or is not what is expected."""


class QuantizeError(ElutqError):
    """A model cannot be quantized with what is given."""


class FinetuneError(ElutqError):
    """A quantized model cannot be tuned with what is given."""


class EvaluationError(ElutqError):
    """A model's predictions cannot be measured."""


class GraphError(ElutqError):
    """A compiled graph cannot be opened, or gets inputs that it does not take."""


class RuntimeFailure(ElutqError):
    """The runtime refused a call; `status` is its elutq_status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class SolverError(ElutqError):
    """The solver's library cannot be found, or weights, Hessian or options are not what it takes."""
