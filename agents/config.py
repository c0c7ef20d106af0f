"""The one configuration of a run: the settings of every room, composed."""

from __future__ import annotations

from pydantic import Field

from agents.chat.endpoints import EndpointsSettings
from agents.settings import (
    AnsweringSettings,
    CalibrationSettings,
    FinalsSettings,
    GateSettings,
    JudgeSettings,
    PoolSettings,
    PopulationSettings,
    PromptSettings,
    SandboxSettings,
    ScientistSettings,
)
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.breeding.settings import BreedingSettings
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.settings import EngineSettings
from evolution.selection.settings import SelectionSettings
from memory.settings import NoveltySettings, Settings


class RunConfig(Settings):
    """Everything that can be set of a run. The defaults are the quickstart."""

    seed: int = Field(default=0, ge=0, description="root of all random streams")
    generations: int = Field(default=4, ge=0, description="generations after the founders")
    plugins: tuple[str, ...] = Field(
        default=(),
        description="modules with operators of your own, imported before the rest is read: dotted "
        'names or .py files, as in ["my_operators.py"]; see docs/operators.md',
    )
    models: ModelSettings = ModelSettings()
    spectral: SpectralSettings = SpectralSettings()
    breeding: BreedingSettings = BreedingSettings()
    selection: SelectionSettings = SelectionSettings()
    engine: EngineSettings = EngineSettings()
    cluster: ClusterSettings = ClusterSettings()
    population: PopulationSettings = PopulationSettings()
    pool: PoolSettings = PoolSettings()
    prompts: PromptSettings = PromptSettings()
    scientist: ScientistSettings = ScientistSettings()
    gates: GateSettings = GateSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    judge: JudgeSettings = JudgeSettings()
    finals: FinalsSettings = FinalsSettings()
    answering: AnsweringSettings = AnsweringSettings()
    sandbox: SandboxSettings = SandboxSettings()
    endpoints: EndpointsSettings = EndpointsSettings()
    novelty: NoveltySettings = NoveltySettings()
