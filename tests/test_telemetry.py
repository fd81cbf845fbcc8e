"""Sensors as the kernel shows them, in a tree of files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from spikeloom.host.telemetry import Rail, telemetry
from tests.test_driver import machine, relay

#: What a PYNQ-Z2's XADC shows, and a KV260's system monitor and INA260.
XADC = {"name": "xadc", "in_temp0_raw": "2583", "in_temp0_offset": "-2219", "in_temp0_scale": "123.040771484",
        "in_voltage0_vccint_raw": "1367", "in_voltage0_vccint_scale": "0.732421875", "sampling_frequency": "961538"}
AMS = {"name": "ams", "in_temp0_ps_temp_raw": "32767", "in_temp0_ps_temp_offset": "-36058", "in_temp0_ps_temp_scale": "7.771514892",
       "in_temp2_raw": "40000", "in_temp_offset": "-36058", "in_temp_scale": "7.771514892", "in_temp2_label": "pl"}
INA260 = {"name": "ina260_u14", "in1_input": "5010", "curr1_input": "812", "power1_input": "4070000", "update_interval": "1"}
INA220 = {"name": "ina220", "in0_input": "3", "in1_input": "850", "curr1_input": "1500", "power1_input": "1275000", "in1_label": "VCCINT",
          "curr1_label": "VCCINT"}


def tree(root: Path, **devices: dict[str, str]) -> Path:
    """Devices by "iio_0" or "hwmon_0"."""
    for name, files in devices.items():
        kind, number = name.split("_")
        folder = root / ("sys/bus/iio/devices/iio:device" if kind == "iio" else "sys/class/hwmon/hwmon").rstrip("/")
        folder = folder.with_name(folder.name + number)
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text + "\n")
    return root


def test_the_xadc_tells_temperature_and_voltage_but_no_power(tmp_path: Path) -> None:
    found = telemetry(tree(tmp_path, iio_0=XADC))
    (temperature,) = found.temperatures
    assert temperature.name == "xadc temp0"
    assert temperature.celsius == pytest.approx((2583 - 2219) * 123.040771484 / 1000)  # 44.8 °C
    assert [(rail.name, round(rail.volts or 0, 3), rail.watts) for rail in found.rails] == [("xadc vccint", 1.001, None)]
    assert found.notes == ["No sensor here measures power: measure at the supply."]


def test_the_system_monitor_s_shared_scales_and_labels_are_found(tmp_path: Path) -> None:
    found = telemetry(tree(tmp_path, iio_0=AMS))
    assert [temperature.name for temperature in found.temperatures] == ["ams ps_temp", "ams pl"]
    assert found.temperatures[1].celsius == pytest.approx((40000 - 36058) * 7.771514892 / 1000)


@pytest.mark.parametrize(("files", "rail"), [(INA260, Rail("ina260_u14", 5.01, 0.812, 4.07)),
                                             (INA220, Rail("ina220 VCCINT", 0.85, 1.5, 1.275))], ids=["ina260", "ina220"])
def test_monitors_tell_volts_amps_and_watts(tmp_path: Path, files: dict[str, str], rail: Rail) -> None:
    found = telemetry(tree(tmp_path, hwmon_3=files, hwmon_1={"name": "cpu", "temp1_input": "51500"}))
    assert found.rails == [rail]
    assert [(each.name, each.celsius) for each in found.temperatures] == [("cpu", 51.5)]
    assert found.notes == []


def test_pynq_s_rails_are_joined(tmp_path: Path) -> None:
    def value(number: float) -> SimpleNamespace:
        return SimpleNamespace(value=number)

    found = telemetry(tmp_path, lambda: {"INT": SimpleNamespace(voltage=value(0.85), current=value(2.0), power=value(1.7)),
                                         "12V": SimpleNamespace(voltage=None, current=None, power=value(9.0))})
    assert found.rails == [Rail("INT", 0.85, 2.0, 1.7), Rail("12V", None, None, 9.0)]
    assert found.notes == ["No temperature sensor was found below /sys/bus/iio/devices or /sys/class/hwmon."]


def test_a_system_without_sensors_says_so(tmp_path: Path) -> None:
    found = telemetry(tmp_path)
    assert found.plain() == {"temperatures": [], "rails": [], "notes": [
        "No temperature sensor was found below /sys/bus/iio/devices or /sys/class/hwmon.",
        "No sensor here measures power: measure at the supply."]}


def test_a_broken_sensor_is_named_and_does_not_hide_the_others(tmp_path: Path) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("libsensors is missing")

    found = telemetry(tree(tmp_path, iio_0={"name": "bad", "in_temp0_raw": "12"}, iio_1=XADC, hwmon_0={"temp1_input": "hot"}), broken)
    assert [each.name for each in found.temperatures] == ["xadc temp0"]
    assert [note.partition(" could")[0].rpartition("/")[2] for note in found.notes[:3]] == ["iio:device0", "hwmon0", "pynq.get_rails()"]
    assert "in_temp0_raw has no scale" in found.notes[0]
    assert "libsensors is missing" in found.notes[2]


def test_a_machine_tells_its_counters_and_that_a_simulation_has_no_sensors() -> None:
    driver, array = machine(relay(4))
    array.registers["READS"] = 12
    found = driver.telemetry()
    assert found["counters"]["READS"] == 12
    assert found["temperatures"] == found["rails"] == []
    assert found["notes"] == ["A simulation has no sensors."]
