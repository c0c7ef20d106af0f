"""JSON mode: what replies are constrained to, as requests put it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST_SCHEMA = 1 << 15
"""Characters of a JSON schema: turning it into a grammar takes the engine's time."""


def _require_size(schema: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(schema)) > LARGEST_SCHEMA:
        raise ValueError(f"a schema may have up to {LARGEST_SCHEMA} characters")
    return schema


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PlainFormat(_Strict):
    """Any text, or any JSON object."""

    type: Literal["text", "json_object"]

    @property
    def as_schema(self) -> str | None:
        """A JSON schema, as a text; None where nothing is constrained."""
        return None if self.type == "text" else json.dumps({"type": "object"})


class NamedSchema(_Strict):
    """A JSON schema, and what a client notes of it.

    Attributes:
        name: without an effect, as `description` and `strict`: a reply always follows the schema.
    """

    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    definition: Annotated[dict[str, Any], AfterValidator(_require_size)] = Field(alias="schema")

    @property
    def as_schema(self) -> str:
        """The JSON schema, as a text."""
        return json.dumps(self.definition)


class SchemaFormat(_Strict):
    """JSON by a schema, in chats."""

    type: Literal["json_schema"]
    json_schema: NamedSchema

    @property
    def as_schema(self) -> str:
        """The JSON schema, as a text."""
        return self.json_schema.as_schema


class FlatSchemaFormat(NamedSchema):
    """JSON by a schema, in the Responses API."""

    type: Literal["json_schema"]


ChatFormat = Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")]
FlatFormat = Annotated[PlainFormat | FlatSchemaFormat, Field(discriminator="type")]


class TextOptions(_Strict):
    """The field `text` of the Responses API."""

    format: FlatFormat | None = None
