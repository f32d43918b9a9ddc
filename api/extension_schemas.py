"""Extensions over the wire: a manifest's fields, and the script as text."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from footprint.extensions import Broken, Extension
from footprint.manifest import Manifest

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=65536)]


class ExtensionRequest(Manifest):
    """An extension to be installed: what its `extension.toml` is to say, and `text`, its script."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "old-php",
                    "description": "A web server that shows an outdated PHP",
                    "accepts": ["service"],
                    "services": ["http", "https"],
                    "script": "check.sh",
                    "interpreter": "sh",
                    "timeout": 10,
                    "severity": "medium",
                    "text": "grep -o 'PHP/5[.0-9]*' || true\n",
                }
            ]
        }
    )

    text: Text = Field(min_length=1, description="The script, as UTF-8 text.")

    def extension(self) -> Extension:
        """The extension that is asked for."""
        fields = self.model_dump(exclude={"text"}, exclude_unset=True)
        return Extension(Manifest.model_validate(fields), self.text)


class ExtensionOut(BaseModel):
    """An extension as it is installed. Where `error` says that it cannot be run, its other fields are null."""

    name: str
    description: str | None
    accepts: list[str] | None
    services: list[str] | None
    ports: list[int] | None
    script: str | None
    interpreter: str | None
    timeout: int | None
    memory: int | None
    network: str | None
    severity: str | None
    cvss: str | None
    score: float | None
    reference: str | None
    error: str | None

    @classmethod
    def of(cls, found: Extension | Broken) -> ExtensionOut:
        """An extension, or a folder that is none, as it is shown."""
        if isinstance(found, Broken):
            unknown = dict.fromkeys(cls.model_fields)
            return cls.model_validate(unknown | {"name": found.name, "error": found.error.detail})
        return cls.model_validate(found.manifest.model_dump(mode="json") | {"error": None})


class ExtensionWithText(BaseModel):
    """One extension, and its script."""

    manifest: ExtensionOut
    text: str
