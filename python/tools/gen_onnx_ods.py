#!/usr/bin/env python3
"""Write the operations of the `onnx` dialect from the schemas of the pinned ONNX package.

Two files are made at build time, none is committed:
  ONNXOps.td       the operations, one for the newest version of each operator
  ONNXSchemas.inc  the same facts as a C++ table, which drives the importer

Which operators: all of the domain ai.onnx that have only dense numeric tensors as operands and results, and those of
onnx_contrib_schemas.py. Left out, and refused by the importer by name: operators with subgraphs (If, Loop, Scan,
SequenceMap), on sequences, optionals or strings, and those that draw random numbers. `Constant` becomes arith.constant.

How names become identifiers: any character that C++ does not allow becomes `_`; a result named like an operand gets the
suffix `_out`; an attribute named like an operand or result, or like a method of mlir::OpState (`type`, `name`, `loc`),
gets the suffix `_attr`. Everything else keeps ONNX's spelling, so operand `position_ids` is read by getPositionIds().
"""

import argparse
import re
import sys

import onnx
import onnx.defs

import onnx_contrib_schemas as contrib

ELEMENT_TYPES = {
    "float": "F32", "float16": "F16", "bfloat16": "BF16", "double": "F64", "bool": "I1",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "UI8", "uint16": "UI16", "uint32": "UI32", "uint64": "UI64",
}
# What only conversions take.
NARROW_TYPES = {"int2": "I<2>", "int4": "I<4>", "uint2": "UI<2>", "uint4": "UI<4>", "float4e2m1": "F4E2M1FN", "float8e8m0": "F8E8M0FNU",
                "float8e4m3fn": "F8E4M3FN", "float8e4m3fnuz": "F8E4M3FNUZ", "float8e5m2": "F8E5M2", "float8e5m2fnuz": "F8E5M2FNUZ"}
CONVERSIONS = {"Cast", "CastLike", "DequantizeLinear", "QuantizeLinear"}
LEFT_OUT = {"Constant", "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
RESERVED = {"type", "types", "name", "loc", "operands", "results", "attrs", "result", "operand", "context", "region",
            "regions", "properties", "operation"}
DIALECT_OF = {"": "", "com.microsoft": "contrib", "ai.elutq": "elutq"}
CLASS_PREFIX = {"": "", "com.microsoft": "Contrib", "ai.elutq": "Elutq"}


class Value:
    def __init__(self, name, elements, option):
        self.name, self.elements, self.option = name, elements, option  # option: "single", "optional", "variadic"


class Attribute:
    def __init__(self, name, kind, required, default):
        self.name, self.kind, self.required, self.default = name, kind, required, default


class Operator:
    def __init__(self, domain, name, version, inputs, outputs, attributes, summary):
        self.domain, self.name, self.version = domain, name, version
        self.inputs, self.outputs, self.attributes, self.summary = inputs, outputs, attributes, summary

    @property
    def mnemonic(self):
        prefix = DIALECT_OF[self.domain]
        return f"{prefix}.{self.name}" if prefix else self.name

    @property
    def class_name(self):
        return f"{CLASS_PREFIX[self.domain]}{self.name}Op"


def identifier(name):
    name = re.sub(r"\W", "_", name)
    return name if re.match(r"[A-Za-z]", name) else "v" + name


def camel(name):
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def rename(operator):
    """Give operands, results and attributes distinct identifiers, also in the CamelCase of the accessors."""
    taken = set()

    def claim(name, suffix):
        name = identifier(name)
        while camel(name) in taken or name in RESERVED:
            name += suffix
        taken.add(camel(name))
        return name

    for value in operator.inputs:
        value.identifier = claim(value.name, "_in")
    for value in operator.outputs:
        value.identifier = claim(value.name, "_out")
    for attribute in operator.attributes:
        attribute.identifier = claim(attribute.name, "_attr")


def tensor_elements(type_strings, types=ELEMENT_TYPES):
    """The MLIR element types among ONNX type strings; empty if none is a dense numeric tensor."""
    found = []
    for text in type_strings:
        match = re.fullmatch(r"tensor\((\w+)\)", text)
        if match and match.group(1) in types:
            found.append(types[match.group(1)])
    return tuple(sorted(set(found), key=list(types.values()).index))


def standard_operator(schema):
    """The operator of an ONNX schema, or None if the dialect cannot express it."""
    if schema.name in LEFT_OUT or schema.deprecated:
        return None
    kinds = onnx.defs.OpSchema.AttrType
    names = {kinds.INT: "int", kinds.FLOAT: "float", kinds.STRING: "string", kinds.INTS: "ints", kinds.FLOATS: "floats",
             kinds.STRINGS: "strings", kinds.TENSOR: "tensor"}
    options = {onnx.defs.OpSchema.FormalParameterOption.Single: "single",
               onnx.defs.OpSchema.FormalParameterOption.Optional: "optional",
               onnx.defs.OpSchema.FormalParameterOption.Variadic: "variadic"}

    def values(parameters):
        types = ELEMENT_TYPES | NARROW_TYPES if schema.name in CONVERSIONS else ELEMENT_TYPES
        return [Value(p.name, tensor_elements(p.types, types), options[p.option]) for p in parameters]

    inputs, outputs = values(schema.inputs), values(schema.outputs)
    if not all(value.elements for value in inputs + outputs):
        return None
    attributes = []
    for name in sorted(schema.attributes):
        attribute = schema.attributes[name]
        if attribute.type not in names:
            return None
        has_default = attribute.default_value.type != onnx.AttributeProto.UNDEFINED
        default = onnx.helper.get_attribute_value(attribute.default_value) if has_default else None
        attributes.append(Attribute(name, names[attribute.type], attribute.required, default))
    summary = (schema.doc or "").strip().split("\n")[0].strip()
    return Operator("", schema.name, schema.since_version, inputs, outputs, attributes, summary)


def contrib_operator(entry):
    domain, name, inputs, outputs, attributes, summary = entry

    def value(text):
        option = {"?": "optional", "*": "variadic"}.get(text[-1], "single")
        value_name, types = text.rstrip("?*").split(":")
        return Value(value_name, tensor_elements(f"tensor({t})" for t in contrib.TYPES[types]), option)

    def attribute(text):
        match = re.fullmatch(r"(\w+):(\w+?)(!|=(.*))?", text)
        attr_name, kind, mark, default = match.groups()
        if default is not None:
            default = {"int": int, "float": float, "string": str}[kind](default)
        return Attribute(attr_name, kind, mark == "!", default)

    return Operator(domain, name, 1, [value(v) for v in inputs], [value(v) for v in outputs],
                    [attribute(a) for a in attributes], summary)


def collect_operators():
    newest = {}
    for schema in onnx.defs.get_all_schemas():
        if schema.domain == "" and (schema.name not in newest or schema.since_version > newest[schema.name].since_version):
            newest[schema.name] = schema
    operators = [standard_operator(newest[name]) for name in sorted(newest)]
    operators = [operator for operator in operators if operator]
    operators += [contrib_operator(entry) for entry in contrib.SCHEMAS]
    for operator in operators:
        rename(operator)
    return operators


def string_literal(text):
    if isinstance(text, bytes):
        text = text.decode()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def attribute_constraint(attribute):
    base = {"int": "I64Attr", "float": "F32Attr", "string": "StrAttr", "ints": "DenseI64ArrayAttr",
            "floats": "DenseF32ArrayAttr", "strings": "StrArrayAttr", "tensor": "ElementsAttr"}[attribute.kind]
    if attribute.required:
        return base
    if attribute.default is None or attribute.kind == "strings":
        return f"OptionalAttr<{base}>"
    if attribute.kind == "int":
        return f'DefaultValuedAttr<{base}, "{attribute.default}">'
    if attribute.kind == "float":
        value = repr(float(f"{attribute.default:.9g}"))
        return f'DefaultValuedAttr<{base}, "{value}f">'
    if attribute.kind == "string":
        return f"DefaultValuedStrAttr<{base}, {string_literal(attribute.default)}>"
    if attribute.kind == "ints":
        return f'DefaultValuedAttr<{base}, "{{{", ".join(map(str, attribute.default))}}}">'
    raise ValueError(f"attribute {attribute.name}: no default values of kind {attribute.kind}")


def tensor_constraint(elements, definitions):
    key = "ONNX_TensorOf" + re.sub(r"\W", "", "".join(elements))
    definitions.setdefault(key, f"def {key} : TensorOf<[{', '.join(elements)}]>;")
    return key


def value_constraint(value, definitions):
    tensor = tensor_constraint(value.elements, definitions)
    if value.option == "variadic":
        return f"Variadic<{tensor}>"
    if value.option == "optional":
        optional = tensor.replace("ONNX_", "ONNX_Optional")
        definitions.setdefault(optional, f"def {optional} : AnyTypeOf<[{tensor}, NoneType]>;")
        return optional
    return tensor


def emit_ods(operators, out):
    definitions, bodies = {}, []
    for operator in operators:
        arguments = [f"{value_constraint(v, definitions)}:${v.identifier}" for v in operator.inputs]
        arguments += [f"{attribute_constraint(a)}:${a.identifier}" for a in operator.attributes]
        results = [f"{value_constraint(v, definitions)}:${v.identifier}" for v in operator.outputs]
        domain = operator.domain or "ai.onnx"
        summary = operator.summary if 0 < len(operator.summary) <= 100 else f"The operator {operator.name}"
        bodies.append("\n".join([
            f'def ONNX_{operator.class_name} : ONNX_Op<"{operator.mnemonic}"> {{',
            f"  let summary = {string_literal(summary)};",
            f'  let description = "`{domain}::{operator.name}`, version {operator.version}.";',
            "  let arguments = (ins " + ",\n                       ".join(arguments) + ");",
            "  let results = (outs " + ",\n                      ".join(results) + ");",
            "}",
        ]))
    out.write("// Generated by gen_onnx_ods.py from the schemas of onnx " + onnx.__version__ + ".\n")
    out.write('include "elutq/Dialect/ONNX/IR/ONNXBase.td"\n\n')
    out.write("\n".join(definitions[key] for key in sorted(definitions, key=lambda k: ("Optional" in k, k))))
    out.write("\n\n" + "\n\n".join(bodies) + "\n")


def emit_table(operators, out):
    """ONNX_OPERATOR(domain, name, version, operation), followed by its ONNX_INPUT, ONNX_OUTPUT and ONNX_ATTRIBUTE lines."""
    out.write("// Generated by gen_onnx_ods.py from the schemas of onnx " + onnx.__version__ + ".\n")
    for operator in operators:
        out.write(f'ONNX_OPERATOR("{operator.domain}", "{operator.name}", {operator.version}, "onnx.{operator.mnemonic}")\n')
        for value in operator.inputs:
            out.write(f'ONNX_INPUT("{value.name}", {value.option.capitalize()})\n')
        for value in operator.outputs:
            out.write(f'ONNX_OUTPUT("{value.name}", {value.option.capitalize()})\n')
        for attribute in operator.attributes:
            required = "true" if attribute.required else "false"
            out.write(f'ONNX_ATTRIBUTE("{attribute.name}", "{attribute.identifier}", {attribute.kind.capitalize()}, {required})\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--version", required=True, help="the version of the onnx package that is expected")
    parser.add_argument("--ods", required=True, help="path of ONNXOps.td")
    parser.add_argument("--table", required=True, help="path of ONNXSchemas.inc")
    options = parser.parse_args()
    if onnx.__version__ != options.version:
        sys.exit(f"expected the Python package onnx {options.version}, but found {onnx.__version__}")
    operators = collect_operators()
    with open(options.ods, "w", encoding="utf-8") as out:
        emit_ods(operators, out)
    with open(options.table, "w", encoding="utf-8") as out:
        emit_table(operators, out)


if __name__ == "__main__":
    main()
