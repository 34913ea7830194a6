"""`python -m tests.support.sbom FILE`: write the bill of materials (CycloneDX 1.6, JSON) of requirements.lock."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from tests.support.repository import ROOT
from worker import __version__

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One package of a lock file."""

    name: str
    version: str
    marker: str
    """The systems that it is installed on; empty: all."""
    hashes: tuple[str, ...]
    """The SHA-256 of each of its archives."""


def pinned_in(lock: str) -> Iterator[Pinned]:
    """Yield the packages of a lock file. Raises ValueError for one without a hash."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock):
        match = _PINNED.match(block.partition("\n")[0])
        if match is None:
            continue
        hashes = tuple(sorted(_HASH.findall(block)))
        if not hashes:
            raise ValueError(f"{match[1]} has no hash: run `make lock`")
        yield Pinned(match[1], match[2], match[3] or "", hashes)


def bill_of_materials(packages: Iterator[Pinned]) -> Bom:
    """Return the bill of materials of these packages."""
    licenses = LicenseFactory()
    bom = Bom()
    bom.metadata.component = Component(
        name="insignia-worker", version=__version__, type=ComponentType.APPLICATION, bom_ref="insignia-worker"
    )
    for package in packages:
        purl = PackageURL("pypi", name=package.name, version=package.version)
        license_text = _license_of(package.name)
        bom.components.add(
            Component(
                name=package.name,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=purl,
                bom_ref=purl.to_string(),
                licenses=[licenses.make_from_string(license_text)] if license_text else [],
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.hashes[0])]
                if len(package.hashes) == 1
                else [],
                properties=_properties(package),
            )
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    return bom


def _properties(package: Pinned) -> list[Property]:
    """Return what has no field of its own: the archives, of which one is installed, and where the package is needed."""
    found = [Property(name="insignia-worker:sha256", value=value) for value in package.hashes]
    return [*found, Property(name="insignia-worker:marker", value=package.marker)] if package.marker else found


def _license_of(name: str) -> str | None:
    """Return the licence that the installed package states; None if it is not installed on this system."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return None
    stated = next(iter(about.get_all("License-Expression", [])), None)
    classifiers = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier", []) if text.startswith("License")]
    return stated or "; ".join(classifiers) or None


def as_json(bom: Bom) -> str:
    """Return the document."""
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def main() -> None:
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    bom = bill_of_materials(pinned_in((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    target.write_text(as_json(bom), encoding="utf-8")
    print(f"{len(bom.components)} packages: {target}")


if __name__ == "__main__":
    main()
