"""A Prefect process worker whose flow runs are forked from a warm process instead of started afresh.

It polls the same pool and speaks to the same API as Prefect's own process worker. What differs is how a flow run's
process comes to be (`deployments.nursery`), and that its end is noticed at once instead of every three seconds. What
it cannot do (a `command`, a working directory, code elsewhere) it leaves to Prefect's own way.

It builds on inner seams of Prefect 3.8 (`prefect.runner`), which is why the version is pinned.
"""

from __future__ import annotations

import abc
import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.abc
from prefect.client.orchestration import get_client
from prefect.logging import get_logger
from prefect.runner._flow_run_executor import FlowRunExecutionResult, FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle, ProcessManager, create_isolated_termination_scope
from prefect.runner._workspace_runtime import write_private_model
from prefect.settings import get_current_settings
from prefect.utilities.processutils import sanitize_subprocess_env
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.blueprint import SET_DIRECTORY
from deployments.grace import Grace
from deployments.nursery import Nursery, NurseryLost, Offspring, signal_group
from deployments.processes import listening_ports

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.runner._control_channel import ControlChannel

ENGINE = "prefect.flow_engine:_main"
HOOKS = "prefect.runner._workspace_runtime_bootstrap:main"
STOP_SECONDS = 10.0
"""What a process gets to end by itself after SIGTERM."""
HOOK_SECONDS = 30.0
REPORT_SECONDS = 3.0
"""What a server that may be gone gets to take the last report."""
LOOK_SECONDS, PATIENCE_SECONDS = 0.25, 15.0


class ForkingWorker(ProcessWorker, abc.ABC):  # ABC as a direct base keeps it out of Prefect's registry of types
    """A process worker for the code under its nursery's root. `on_ready` is called when it begins to poll."""

    def __init__(
        self,
        work_pool_name: str,
        *,
        nursery: Nursery,
        on_ready: Callable[[], None],
        name: str | None = None,
        grace: Grace | None = None,
    ) -> None:
        super().__init__(work_pool_name, name=name)
        self._nursery = nursery
        self._on_ready = on_ready
        self._grace = grace or Grace()

    async def setup(self) -> None:
        """Connect to the API while the nursery imports; polling begins when both are done."""
        self._nursery.start()
        await super().setup()
        await self._nursery.ready()
        self._on_ready()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Fork the flow run and wait for its end; when this worker stops, it is stopped and reported as crashed."""
        entrypoint = _entrypoint_here(configuration, self._nursery.root)
        if entrypoint is None:
            return await super().run(flow_run, configuration, task_status)
        try:
            return await self._fork(flow_run, configuration, entrypoint, task_status)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(REPORT_SECONDS, shield=True):
                # The server refuses this where the engine has reported an end itself, as it does when given the time.
                await self._propose_crashed_state(flow_run, "The worker was stopped.")
            raise

    async def _fork(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        entrypoint: str,
        task_status: anyio.abc.TaskStatus[int] | None,
    ) -> ProcessWorkerResult:
        result: FlowRunExecutionResult | None = None
        async with FlowRunExecutorContext() as context:
            _stop_promptly(context.process_manager)
            env = environment_of(configuration)
            starter = ForkStarter(self._nursery, entrypoint, env, context.control_channel, self._grace)
            executor = context.create_executor(flow_run, starter, propose_submitting=False, hook_runner=starter)

            async def execute(*, task_status: anyio.abc.TaskStatus[ProcessHandle]) -> None:
                nonlocal result
                result = await executor.submit(task_status=task_status)

            async with anyio.create_task_group() as group:
                handle: ProcessHandle = await group.start(execute)
                if task_status is not None:
                    task_status.started(cast(int, handle.pid))
        await self._conclude_cancel(flow_run, starter)
        if result is None or result.status_code is None:
            raise NurseryLost("the flow run's process was not started")
        return ProcessWorkerResult(status_code=result.status_code, identifier=str(result.handle.pid))

    async def _conclude_cancel(self, flow_run: FlowRun, starter: ForkStarter) -> None:
        """Call a run cancelled that ended before its cancel was seen, as in its first steps: no one looks again."""
        state = (await self.client.read_flow_run(flow_run.id)).state
        if state is not None and state.is_cancelling():
            await starter.run_cancellation_hooks(flow_run, state)
            await self._mark_flow_run_as_cancelled(flow_run, {"message": "Flow run was cancelled as it ended."})


class ForkStarter:
    """Prefect's `ProcessStarter` and `FlowRunHookRunner` for one flow run: both run in forks."""

    def __init__(
        self,
        nursery: Nursery,
        entrypoint: str,
        env: dict[str, str],
        control_channel: ControlChannel,
        grace: Grace,
    ) -> None:
        self._nursery = nursery
        self._entrypoint = entrypoint
        self._env = env
        self._control_channel = control_channel
        self._grace = grace

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Fork the engine, report its handle, and block until it ends; when cancelled, stop it first, with grace."""
        try:
            offspring = await self._nursery.bear(ENGINE, self._entrypoint, env=self._engine_env(flow_run))
        except BaseException:
            self._control_channel.unregister(flow_run.id)
            raise
        try:
            scope = create_isolated_termination_scope(offspring.pid)
            task_status.started(ProcessHandle(cast(Any, offspring), termination_scope=scope))
            await offspring.wait()
        finally:
            await self._grace.give(offspring)
            await stop(offspring)

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State) -> None:
        """Run the flow's `on_cancellation` hooks."""
        if state.is_cancelling():
            await self._run_hooks("cancellation", flow_run, state)

    async def run_crashed_hooks(self, flow_run: FlowRun, state: State) -> None:
        """Run the flow's `on_crashed` hooks."""
        if state.is_crashed():
            await self._run_hooks("crashed", flow_run, state)

    def _engine_env(self, flow_run: FlowRun) -> dict[str, str]:
        own = {
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__FLOW_ENTRYPOINT": self._entrypoint,
            # The worker runs them: a process that is killed cannot.
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
        }
        try:
            port, token = self._control_channel.register(flow_run.id)
        except RuntimeError:
            # No listener on loopback could be had: a cancel is then a mere SIGTERM, as with Prefect's own starter.
            return self._env | own
        # A scan of this very machine would find these, and wait for minutes until they say what they are.
        own["PULSAR_OWN_PORTS"] = ",".join(map(str, listening_ports()))
        return self._env | own | {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}

    async def _run_hooks(self, kind: str, flow_run: FlowRun, state: State) -> None:
        with tempfile.TemporaryDirectory(prefix="pulsar-hook-") as name:
            place = Path(name)
            where = {"runtime_entrypoint": self._entrypoint, "working_directory": str(self._nursery.root)}
            (place / "workspace").write_text(json.dumps(where))
            write_private_model(place / "run", flow_run)
            write_private_model(place / "state", state)
            files = (str(place / part) for part in ("workspace", "run", "state"))
            offspring = await self._nursery.bear(HOOKS, "hook", kind, *files, env=self._env)
            with anyio.move_on_after(HOOK_SECONDS):
                await offspring.wait()
            await stop(offspring)


async def server_answers() -> None:
    """Wait for the Prefect server: it may be starting at the same time."""
    async with get_client() as client:
        waited = 0.0
        while (error := await client.api_healthcheck()) is not None:
            if waited == PATIENCE_SECONDS:
                get_logger("worker").warning("waiting for the Prefect server: %s", type(error).__name__)
            waited += LOOK_SECONDS
            await anyio.sleep(LOOK_SECONDS)


def module_entrypoint(deployment: DeploymentResponse | None, root: Path) -> str | None:
    """`flows/scan.py:dispatch_scan` as `flows.scan.dispatch_scan`, or None where the code is not that under `root`.

    A module is imported once, before the fork; a path would be executed again in every run.
    """
    if deployment is None or not deployment.entrypoint:
        return None
    steps = [step.get(SET_DIRECTORY) or {} for step in deployment.pull_steps or []]
    if [Path(step.get("directory", "")).resolve() for step in steps] != [root]:
        return None
    path, _, function = deployment.entrypoint.rpartition(":")
    file = (root / path).resolve()
    if file.suffix != ".py" or not file.is_file() or not file.is_relative_to(root):
        return None
    return ".".join((*file.relative_to(root).with_suffix("").parts, function))


def environment_of(configuration: ProcessJobConfiguration) -> dict[str, str]:
    """The environment of a flow run's process: the worker's, its settings, and what the deployment adds."""
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return sanitize_subprocess_env({**os.environ, **settings, **configuration.env})


async def stop(offspring: Offspring, seconds: float = STOP_SECONDS) -> None:
    """End a process with all of its group: SIGTERM, `seconds` of patience, SIGKILL. Returns when it is gone."""
    with anyio.CancelScope(shield=True):
        if offspring.returncode is None and signal_group(offspring.pid, signal.SIGTERM):
            with anyio.move_on_after(seconds):
                await offspring.wait()
        # Nothing of the group outlives its leader, whatever signals it ignores.
        signal_group(offspring.pid, signal.SIGKILL)
        await offspring.wait()


def _entrypoint_here(configuration: ProcessJobConfiguration, root: Path) -> str | None:
    if configuration._command_configured or configuration.working_dir:
        return None
    return module_entrypoint(cast("DeploymentResponse | None", configuration._related_objects.get("deployment")), root)


def _stop_promptly(manager: ProcessManager) -> None:
    """Let a cancel be over when the process is: Prefect looks once in three seconds only."""

    async def kill(flow_run_id: UUID, grace_seconds: float = STOP_SECONDS, *, force: bool = False) -> None:
        if (handle := manager.get(flow_run_id)) is not None:
            await stop(cast(Any, handle.raw_process), 0 if force else min(grace_seconds, STOP_SECONDS))

    manager.kill = kill  # type: ignore[method-assign]
