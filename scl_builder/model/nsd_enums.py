"""Enumerations of IEC 61850-7-2, 7-3 and 7-4 (2007B5), ordinal → literal, letter for letter.

>>> ENUMERATIONS["HealthKind"][1]
'Ok'
"""

from __future__ import annotations

# fmt: off
ENUMERATIONS: dict[str, dict[int, str]] = {
    "BehaviourModeKind": {1: "on", 2: "blocked", 3: "test", 4: "test/blocked", 5: "off"},
    "HealthKind": {1: "Ok", 2: "Warning", 3: "Alarm"},
    "CtlModelKind": {
        0: "status-only", 1: "direct-with-normal-security", 2: "sbo-with-normal-security",
        3: "direct-with-enhanced-security", 4: "sbo-with-enhanced-security",
    },
    "SboClassKind": {0: "operate-once", 1: "operate-many"},
    "OriginatorCategoryKind": {
        0: "not-supported", 1: "bay-control", 2: "station-control", 3: "remote-control", 4: "automatic-bay",
        5: "automatic-station", 6: "automatic-remote", 7: "maintenance", 8: "process",
    },
    "SwitchFunctionKind": {
        1: "Load Break", 2: "Disconnector", 3: "Earthing Switch", 4: "High Speed Earthing Switch",
    },
    "SwitchingCapabilityKind": {1: "None", 2: "Open", 3: "Close", 4: "Open and Close"},
    "BreakerOpCapabilityKind": {
        1: "None", 2: "Open", 3: "Close-Open", 4: "Open-Close-Open", 5: "Close-Open-Close-Open",
        6: "Open-Close-Open-Close-Open", 7: "more",
    },
    "POWSwitchingCapabilityKind": {1: "None", 2: "Close", 3: "Open", 4: "Close and Open"},
    "RangeKind": {0: "normal", 1: "high", 2: "low", 3: "high-high", 4: "low-low"},
    "CalcMethodKind": {
        1: "UNSPECIFIED", 2: "TRUE_RMS", 3: "PEAK_FUNDAMENTAL", 4: "RMS_FUNDAMENTAL", 5: "MIN", 6: "MAX",
        7: "AVG", 8: "SDV", 9: "PREDICTION", 10: "RATE", 11: "P-CLASS", 12: "M-CLASS", 13: "DIFF",
    },
    "CalcModeKind": {1: "TOTAL", 2: "PERIOD", 3: "SLIDING"},
    "CalcIntervalKind": {
        1: "MS", 2: "PER_CYCLE", 3: "CYCLE", 4: "DAY", 5: "WEEK", 6: "MONTH", 7: "YEAR", 8: "EXTERNAL",
    },
    "STotalCalcMethodKind": {1: "Vector", 2: "Arithmetic"},
    "PFSignKind": {1: "IEC", 2: "EEI"},
    "OutputSignalKind": {0: "pulse", 1: "persistent", 2: "persistent-feedback"},
    "AngleReferenceKind": {0: "V", 1: "A", 2: "other", 3: "Synchrophasor"},
    "FaultDirectionKind": {0: "unknown", 1: "forward", 2: "backward", 3: "both"},
    "PhaseFaultDirectionKind": {0: "unknown", 1: "forward", 2: "backward"},
    "SeverityKind": {0: "unknown", 1: "critical", 2: "major", 3: "minor", 4: "warning"},
    "PhaseAngleReferenceKind": {
        0: "Va", 1: "Vb", 2: "Vc", 3: "Aa", 4: "Ab", 5: "Ac", 6: "Vab", 7: "Vbc", 8: "Vca", 9: "Vother",
        10: "Aother", 11: "Synchrophasor",
    },
    "PhaseReferenceKind": {0: "A", 1: "B", 2: "C", 3: "Synchrophasor"},
    "SequenceKind": {0: "pos-neg-zero", 1: "dir-quad-zero"},
    "ClockSourceKind": {1: "Unknown", 2: "SNTP", 3: "PTP", 4: "IRIG-B", 5: "Substation internal"},
    "ClockSyncKind": {1: "InternalClock", 2: "LocalAreaClock", 3: "GlobalAreaClock"},
    "ClockSyncLockingKind": {
        1: "Locked", 2: "Unlocked10s", 3: "Unlocked100s", 4: "Unlocked1000s", 5: "UnlockedMoreThan1000s",
    },
    "OccurrenceKind": {
        0: "Time", 1: "WeekDay", 2: "WeekOfYear", 3: "DayOfMonth", 4: "DayOfYear", 5: "NONE",
    },
    "PeriodKind": {0: "Hour", 1: "Day", 2: "Week", 3: "Month", 4: "Year"},
    "MonthKind": {
        0: "reserved", 1: "January", 2: "February", 3: "March", 4: "April", 5: "May", 6: "June", 7: "July",
        8: "August", 9: "September", 10: "October", 11: "November", 12: "December",
    },
    "WeekdayKind": {
        0: "reserved", 1: "Monday", 2: "Tuesday", 3: "Wednesday", 4: "Thursday", 5: "Friday", 6: "Saturday",
        7: "Sunday",
    },
    "MultiplierKind": {
        -24: "y", -21: "z", -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", -2: "c", -1: "d",
        0: "", 1: "da", 2: "h", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E", 21: "Z", 24: "Y",
    },
    "SIUnitKind": {
        1: "", 2: "m", 3: "kg", 4: "s", 5: "A", 6: "K", 7: "mol", 8: "cd", 9: "deg", 10: "rad", 11: "sr",
        21: "Gy", 22: "Bq", 23: "°C", 24: "Sv", 25: "F", 26: "C", 27: "S", 28: "H", 29: "V", 30: "ohm",
        31: "J", 32: "N", 33: "Hz", 34: "lx", 35: "Lm", 36: "Wb", 37: "T", 38: "W", 39: "Pa", 41: "m²",
        42: "m³", 43: "m/s", 44: "m/s²", 45: "m³/s", 46: "m/m³", 47: "M", 48: "kg/m³", 49: "m²/s",
        50: "W/m K", 51: "J/K", 52: "ppm", 53: "1/s", 54: "rad/s", 55: "W/m²", 56: "J/m²", 57: "S/m",
        58: "K/s", 59: "Pa/s", 60: "J/kg K", 61: "VA", 62: "Watts", 63: "VAr", 64: "phi", 65: "cos(phi)",
        66: "Vs", 67: "V²", 68: "As", 69: "A²", 70: "A²t", 71: "VAh", 72: "Wh", 73: "VArh", 74: "V/Hz",
        75: "Hz/s", 76: "char", 77: "char/s", 78: "kgm²", 79: "dB", 80: "J/Wh", 81: "W/s", 82: "l/s",
        83: "dBm", 84: "h", 85: "min", 86: "Ohm/m", 87: "percent/s", 88: "A/V", 89: "A/Vs",
    },
}
# fmt: on
