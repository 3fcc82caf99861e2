"""The inventory statement: what a node holds, as its sources know it. Pure."""

from attestor.equipment import Equipment
from protos.stillwatch.statement.v1 import inventory_pb2


def inventory(equipment: Equipment, sources: tuple[str, ...]) -> inventory_pb2.Inventory:
    """Return the inventory of a node: chips in row order; ``sources`` are the kinds that it reads."""
    return inventory_pb2.Inventory(
        chips=[
            inventory_pb2.Chip(
                uuid=chip.uuid,
                model=chip.model,
                power_limit_watts=chip.power_limit_w,
                max_sm_clock_mhz=chip.max_sm_clock_mhz,
                memory_bytes=chip.memory_bytes,
                partitioned=chip.partitioned,
                firmware=chip.firmware,
            )
            for chip in equipment.chips
        ],
        driver=equipment.driver,
        sources=sources,
        missing_channels=equipment.missing_channels,
    )
