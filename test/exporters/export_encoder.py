"""Lets PyTorch export models that are no decoders, each to FOLDER/EXPORTER/ARCHITECTURE/GRAPH.onnx: batches of symbolic size and length.

    export_encoder.py FOLDER all
    export_encoder.py FOLDER dynamo-18/bert
"""

import importlib.util
import shutil
from pathlib import Path

import torch
import transformers

from command_line import export_pairs
from encoders import ENCODER_EXPORTERS, ENCODERS, SENTENCE_PACKAGE, graphs_of


class Hidden(torch.nn.Module):
    """The last hidden states only."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, **inputs):
        return self.model(**inputs).last_hidden_state


class Bert(Hidden):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)


class Masked(Hidden):
    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids=input_ids, attention_mask=attention_mask)


class Image(Hidden):
    def forward(self, pixel_values):
        return super().forward(pixel_values=pixel_values)


class Sound(Hidden):
    def forward(self, input_features):
        return super().forward(input_features=input_features)


class Decoder(torch.nn.Module):
    """Logits of all positions of a text, from the first on, and an encoder's states; no past."""

    def __init__(self, model: torch.nn.Module, masked: bool):
        super().__init__()
        self.model, self.masked = model, masked
        self.eval()

    def logits(self, decoder_input_ids, states, mask):
        outputs = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=states)
        kept = {"attention_mask": mask} if self.masked else {}
        return self.model(decoder_input_ids=decoder_input_ids, encoder_outputs=outputs, use_cache=False, **kept).logits


class MaskedDecoder(Decoder):
    def forward(self, decoder_input_ids, encoder_hidden_states, encoder_attention_mask):
        return self.logits(decoder_input_ids, encoder_hidden_states, encoder_attention_mask)


class PlainDecoder(Decoder):
    def forward(self, decoder_input_ids, encoder_hidden_states):
        return self.logits(decoder_input_ids, encoder_hidden_states, None)


def package_folder() -> Path:
    """Where the package of the real model keeps it. The package is not imported: it wants others that are not needed here."""
    return Path(importlib.util.find_spec(SENTENCE_PACKAGE).origin).parent / "model"


def make_model(architecture: str) -> transformers.PreTrainedModel:
    """The real model of the package, or one with weights from a generator, whose norms are not all ones."""
    name, settings = ENCODERS[architecture]
    if settings is None:
        return getattr(transformers, name).from_pretrained(package_folder()).eval()
    settings = dict(settings)
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    if architecture == "t5":  # torch cannot export its other attention with symbolic sizes.
        config._attn_implementation = "eager"
    torch.manual_seed(7)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def graph_of(model: transformers.PreTrainedModel, architecture: str, graph: str) -> tuple[torch.nn.Module, dict, dict]:
    """The module of a graph, example inputs, and which dimensions are symbolic."""
    batch, sequence, source = (torch.export.Dim(name) for name in ("batch", "sequence", "source"))
    ids = torch.randint(3, 60, (2, 7))
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    rows = {0: batch, 1: sequence}
    if architecture in ("bert", "minilm"):
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        return Bert(model), inputs, dict.fromkeys(inputs, rows)
    if architecture == "vit":
        size = model.config.image_size
        return Image(model), {"pixel_values": torch.randn(2, 3, size, size)}, {"pixel_values": {0: batch}}
    width = model.config.d_model
    if architecture == "t5":
        if graph == "encoder":
            inputs = {"input_ids": ids, "attention_mask": mask}
            return Masked(model.get_encoder()), inputs, dict.fromkeys(inputs, rows)
        inputs = {"decoder_input_ids": ids[:, :5], "encoder_hidden_states": torch.randn(2, 7, width), "encoder_attention_mask": mask}
        return MaskedDecoder(model, True), inputs, {"decoder_input_ids": rows, "encoder_hidden_states": {0: batch, 1: source},
                                                    "encoder_attention_mask": {0: batch, 1: source}}
    length = model.config.max_source_positions
    if graph == "encoder":
        return Sound(model.get_encoder()), {"input_features": torch.randn(2, model.config.num_mel_bins, 2 * length)}, {
            "input_features": {0: batch}}
    inputs = {"decoder_input_ids": ids[:, :5], "encoder_hidden_states": torch.randn(2, length, width)}
    return PlainDecoder(model, False), inputs, {"decoder_input_ids": rows, "encoder_hidden_states": {0: batch}}


def export(exporter: str, architecture: str, folder: Path) -> None:
    model = make_model(architecture)
    if ENCODERS[architecture][1] is None:
        shutil.copy(package_folder() / "tokenizer.json", folder)
    for graph in graphs_of(architecture):
        module, inputs, shapes = graph_of(model, architecture, graph)
        torch.onnx.export(module, (), kwargs=inputs, dynamic_shapes=shapes, dynamo=True, opset_version=int(exporter.partition("-")[2]),
                          f=str(folder / f"{graph}.onnx"), external_data=False, verbose=False, input_names=list(inputs),
                          output_names=["result"])


def main() -> None:
    export_pairs(__doc__, [f"{exporter}/{architecture}" for exporter in ENCODER_EXPORTERS for architecture in ENCODERS], export)


if __name__ == "__main__":
    main()
