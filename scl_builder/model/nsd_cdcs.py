"""Attributes of the common data classes: facts of IEC 61850-7-3 (2007B5) and 8-1, as a table.

A row is ``name FC type presence triggers``. ``Enum:X`` is an enumeration (nsd_enums), ``Struct:X`` a
constructed attribute; ``SDO`` in place of an FC makes a sub data object. Presence conditions keep the
standard's names: M, O, F, MO:x (mandatory with sibling x), OF:x (forbidden without x), and groups such as
AllAtLeastOneGroup:2. ``+subst X``, ``+operated`` and ``+text`` stand for rows that many classes share.

>>> [attribute.name for attribute in CDCS["MV"] if attribute.presence == "M"]
['mag', 'q', 't']
"""

from __future__ import annotations

from dataclasses import dataclass

TRIGGERS = ("dchg", "qchg", "dupd")


@dataclass(frozen=True)
class Attribute:
    """A data attribute, a member of a constructed one (``fc`` empty), or a sub data object (``SDO``)."""

    name: str
    fc: str
    btype: str
    """bType as SCL writes it; ``Enum`` and ``Struct`` have their kind in ``type``."""
    type: str
    """Kind of enumeration or structure, CDC of a sub data object; empty if basic or left to the object."""
    presence: str
    triggers: tuple[str, ...] = ()


# fmt: off
_CDC_ROWS = {
    "SPS": """
        stVal        ST  BOOLEAN                      M                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +subst subVal BOOLEAN
        +text
    """,
    "DPS": """
        stVal        ST  Dbpos                        M                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +subst subVal Dbpos
        +text
    """,
    "INS": """
        stVal        ST  INT32                        M                     dchg dupd
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +subst subVal INT32
        units        CF  Struct:Unit                  O                     dchg
        +text
    """,
    "ENS": """
        stVal        ST  Enum                         M                     dchg dupd
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +subst subVal Enum
        +text
    """,
    "ACT": """
        general      ST  BOOLEAN                      M                     dchg
        phsA         ST  BOOLEAN                      O                     dchg
        phsB         ST  BOOLEAN                      O                     dchg
        phsC         ST  BOOLEAN                      O                     dchg
        neut         ST  BOOLEAN                      O                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        originSrc    ST  Struct:Originator            O
        operTmPhsA   ST  Timestamp                    O
        operTmPhsB   ST  Timestamp                    O
        operTmPhsC   ST  Timestamp                    O
        +text
    """,
    "ACD": """
        general      ST  BOOLEAN                      M                     dchg
        dirGeneral   ST  Enum:FaultDirectionKind      M                     dchg
        phsA         ST  BOOLEAN                      AllOrNonePerGroup:1   dchg
        dirPhsA      ST  Enum:PhaseFaultDirectionKind AllOrNonePerGroup:1   dchg
        phsB         ST  BOOLEAN                      AllOrNonePerGroup:2   dchg
        dirPhsB      ST  Enum:PhaseFaultDirectionKind AllOrNonePerGroup:2   dchg
        phsC         ST  BOOLEAN                      AllOrNonePerGroup:3   dchg
        dirPhsC      ST  Enum:PhaseFaultDirectionKind AllOrNonePerGroup:3   dchg
        neut         ST  BOOLEAN                      AllOrNonePerGroup:4   dchg
        dirNeut      ST  Enum:PhaseFaultDirectionKind AllOrNonePerGroup:4   dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +text
    """,
    "SEC": """
        cnt          ST  INT32U                       M                     dchg
        sev          ST  Enum:SeverityKind            M
        t            ST  Timestamp                    M
        addr         ST  Octet64                      O
        addInfo      ST  VisString64                  O
        +text
    """,
    "BCR": """
        actVal       ST  INT64                        AllAtLeastOneGroup:2  dchg
        frVal        ST  INT64                        AllAtLeastOneGroup:1  dupd
        frTm         ST  Timestamp                    AllAtLeastOneGroup:1
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    AllAtLeastOneGroup:2
        units        CF  Struct:Unit                  O                     dchg
        pulsQty      CF  FLOAT32                      M                     dchg
        frEna        CF  BOOLEAN                      AllAtLeastOneGroup:1  dchg
        strTm        CF  Timestamp                    OF:frVal              dchg
        frPd         CF  INT32                        AllAtLeastOneGroup:1  dchg
        frRs         CF  BOOLEAN                      AllAtLeastOneGroup:1  dchg
        +text
    """,
    "VSS": """
        stVal        ST  VisString255                 M                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +text
    """,
    "ORS": """
        stVal        ST  ObjRef                       M                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +text
    """,
    "TCS": """
        stVal        ST  Timestamp                    M                     dchg dupd
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        +text
    """,
    "MV": """
        instMag      MX  Struct:AnalogueValue         O
        mag          MX  Struct:AnalogueValue         M                     dchg dupd
        range        MX  Enum:RangeKind               O                     dchg
        q            MX  Quality                      M                     qchg
        t            MX  Timestamp                    M
        +subst subMag Struct:AnalogueValue
        units        CF  Struct:Unit                  O                     dchg
        db           CF  INT32U                       O                     dchg
        zeroDb       CF  INT32U                       O                     dchg
        sVC          CF  Struct:ScaledValueConfig     MFscaledAV            dchg
        rangeC       CF  Struct:RangeConfig           MO:range              dchg
        smpRate      CF  INT32U                       O                     dchg
        dbRef        CF  FLOAT32                      MO:db                 dchg
        zeroDbRef    CF  FLOAT32                      MO:zeroDb             dchg
        +text
    """,
    "CMV": """
        instCVal     MX  Struct:Vector                O
        cVal         MX  Struct:Vector                M                     dchg dupd
        range        MX  Enum:RangeKind               O                     dchg
        rangeAng     MX  Enum:RangeKind               O                     dchg
        q            MX  Quality                      M                     qchg
        t            MX  Timestamp                    M
        +subst subCVal Struct:Vector
        units        CF  Struct:Unit                  O                     dchg
        db           CF  INT32U                       O                     dchg
        dbAng        CF  INT32U                       O                     dchg
        zeroDb       CF  INT32U                       O                     dchg
        rangeC       CF  Struct:RangeConfig           MO:range              dchg
        rangeAngC    CF  Struct:RangeConfig           MO:rangeAng           dchg
        magSVC       CF  Struct:ScaledValueConfig     MFscaledMagV          dchg
        angSVC       CF  Struct:ScaledValueConfig     MFscaledAngV          dchg
        angRef       CF  Enum:PhaseAngleReferenceKind O                     dchg
        smpRate      CF  INT32U                       O                     dchg
        dbRef        CF  FLOAT32                      MO:db                 dchg
        zeroDbRef    CF  FLOAT32                      MO:zeroDb             dchg
        dbAngRef     CF  FLOAT32                      MO:dbAng              dchg
        +text
    """,
    "WYE": """
        phsA         SDO CMV                          AtLeastOne:1
        phsB         SDO CMV                          AtLeastOne:1
        phsC         SDO CMV                          AtLeastOne:1
        neut         SDO CMV                          AtLeastOne:1
        net          SDO CMV                          AtLeastOne:1
        res          SDO CMV                          AtLeastOne:1
        angRef       CF  Enum:PhaseAngleReferenceKind O                     dchg
        phsToNeut    CF  BOOLEAN                      O                     dchg
        +text
    """,
    "DEL": """
        phsAB        SDO CMV                          AtLeastOne:1
        phsBC        SDO CMV                          AtLeastOne:1
        phsCA        SDO CMV                          AtLeastOne:1
        angRef       CF  Enum:PhaseAngleReferenceKind O                     dchg
        +text
    """,
    "SEQ": """
        c1           SDO CMV                          M
        c2           SDO CMV                          OMSynPh
        c3           SDO CMV                          OMSynPh
        seqT         MX  Enum:SequenceKind            M
        phsRef       CF  Enum:PhaseReferenceKind      O                     dchg
        +text
    """,
    "SPC": """
        origin       ST  Struct:Originator            O
        ctlNum       ST  INT8U                        O
        stVal        ST  BOOLEAN                      MAllOrNonePerGroup:1  dchg
        q            ST  Quality                      MAllOrNonePerGroup:1  qchg
        t            ST  Timestamp                    MAllOrNonePerGroup:1
        stSeld       ST  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal BOOLEAN
        pulseConfig  CF  Struct:PulseConfig           O                     dchg
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        +text
    """,
    "DPC": """
        origin       ST  Struct:Originator            O
        ctlNum       ST  INT8U                        O
        stVal        ST  Dbpos                        M                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        stSeld       ST  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal Dbpos
        pulseConfig  CF  Struct:PulseConfig           O                     dchg
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        +text
    """,
    "INC": """
        origin       ST  Struct:Originator            O
        ctlNum       ST  INT8U                        O
        stVal        ST  INT32                        M                     dchg dupd
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        stSeld       ST  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal INT32
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        minVal       CF  INT32                        O                     dchg
        maxVal       CF  INT32                        O                     dchg
        stepSize     CF  INT32U                       O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        units        CF  Struct:Unit                  O                     dchg
        +text
    """,
    "ENC": """
        origin       ST  Struct:Originator            O
        ctlNum       ST  INT8U                        O
        stVal        ST  Enum                         M                     dchg
        q            ST  Quality                      M                     qchg
        t            ST  Timestamp                    M
        stSeld       ST  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal Enum
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        +text
    """,
    "BSC": """
        origin       ST  Struct:Originator            O
        ctlNum       ST  INT8U                        O
        valWTr       ST  Struct:ValWithTrans          MAllOrNonePerGroup:1  dchg
        q            ST  Quality                      MAllOrNonePerGroup:1  qchg
        t            ST  Timestamp                    MAllOrNonePerGroup:1
        stSeld       ST  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal Struct:ValWithTrans
        persistent   CF  BOOLEAN                      M                     dchg
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        minVal       CF  INT8                         O                     dchg
        maxVal       CF  INT8                         O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        +text
    """,
    "ISC": """
        origin       ST  Struct:Originator            O
        ctlNum       ST  INT8U                        O
        valWTr       ST  Struct:ValWithTrans          MAllOrNonePerGroup:1  dchg
        q            ST  Quality                      MAllOrNonePerGroup:1  qchg
        t            ST  Timestamp                    MAllOrNonePerGroup:1
        stSeld       ST  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal Struct:ValWithTrans
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        minVal       CF  INT8                         O                     dchg
        maxVal       CF  INT8                         O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        +text
    """,
    "APC": """
        origin       MX  Struct:Originator            O
        ctlNum       MX  INT8U                        O
        mxVal        MX  Struct:AnalogueValue         MAllOrNonePerGroup:1  dchg
        q            MX  Quality                      MAllOrNonePerGroup:1  qchg
        t            MX  Timestamp                    MAllOrNonePerGroup:1
        stSeld       MX  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal Struct:AnalogueValue
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        units        CF  Struct:Unit                  O                     dchg
        db           CF  INT32U                       O                     dchg
        sVC          CF  Struct:ScaledValueConfig     MFscaledAV            dchg
        minVal       CF  Struct:AnalogueValue         O                     dchg
        maxVal       CF  Struct:AnalogueValue         O                     dchg
        stepSize     CF  Struct:AnalogueValue         O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        dbRef        CF  FLOAT32                      MO:db                 dchg
        +text
    """,
    "BAC": """
        origin       MX  Struct:Originator            O
        ctlNum       MX  INT8U                        O
        mxVal        MX  Struct:AnalogueValue         MAllOrNonePerGroup:1  dchg
        q            MX  Quality                      MAllOrNonePerGroup:1  qchg
        t            MX  Timestamp                    MAllOrNonePerGroup:1
        stSeld       MX  BOOLEAN                      MOsbo                 dchg
        +operated
        +subst subVal Struct:AnalogueValue
        persistent   CF  BOOLEAN                      M                     dchg
        ctlModel     CF  Enum:CtlModelKind            M                     dchg
        sboTimeout   CF  INT32U                       MOsbo                 dchg
        sboClass     CF  Enum:SboClassKind            O                     dchg
        units        CF  Struct:Unit                  O                     dchg
        db           CF  INT32U                       O                     dchg
        sVC          CF  Struct:ScaledValueConfig     MFscaledAV            dchg
        minVal       CF  Struct:AnalogueValue         O                     dchg
        maxVal       CF  Struct:AnalogueValue         O                     dchg
        stepSize     CF  Struct:AnalogueValue         O                     dchg
        operTimeout  CF  INT32U                       MOenhanced            dchg
        dbRef        CF  FLOAT32                      MO:db                 dchg
        +text
    """,
    "SPG": """
        setVal       SP  BOOLEAN                      M                     dchg
        +text
    """,
    "ING": """
        setVal       SP  INT32                        M                     dchg
        minVal       CF  INT32                        O                     dchg
        maxVal       CF  INT32                        O                     dchg
        stepSize     CF  INT32U                       O                     dchg
        units        CF  Struct:Unit                  O                     dchg
        +text
    """,
    "ENG": """
        setVal       SP  Enum                         M                     dchg
        +text
    """,
    "ORG": """
        setSrcRef    SP  ObjRef                       M                     dchg
        setTstRef    SP  ObjRef                       AllOrNonePerGroup:1   dchg
        setSrcCB     SP  ObjRef                       O                     dchg
        setTstCB     SP  ObjRef                       OF:setTstRef          dchg
        intAddr      SP  VisString255                 O                     dchg
        tstEna       SP  BOOLEAN                      AllOrNonePerGroup:1   dchg
        purpose      DC  VisString255                 O
        +text
    """,
    "TSG": """
        setTm        SP  Timestamp                    AtLeastOne:1          dchg
        setCal       SP  Struct:CalendarTime          AtLeastOne:1          dchg
        +text
    """,
    "CUG": """
        cur          SP  Currency                     M                     dchg
        +text
    """,
    "VSG": """
        setVal       SP  VisString255                 M                     dchg
        +text
    """,
    "ASG": """
        setMag       SP  Struct:AnalogueValueCtl      M                     dchg
        units        CF  Struct:Unit                  O                     dchg
        sVC          CF  Struct:ScaledValueConfig     MFscaledAV            dchg
        minVal       CF  Struct:AnalogueValue         O                     dchg
        maxVal       CF  Struct:AnalogueValue         O                     dchg
        stepSize     CF  Struct:AnalogueValue         O                     dchg
        +text
    """,
    "DPL": """
        vendor       DC  VisString255                 M
        hwRev        DC  VisString255                 O
        swRev        DC  VisString255                 O
        serNum       DC  VisString255                 O
        model        DC  VisString255                 O
        location     DC  VisString255                 O
        name         DC  VisString64                  O
        owner        DC  VisString255                 O
        ePSName      DC  VisString255                 O
        primeOper    DC  VisString255                 O
        secondOper   DC  VisString255                 O
        latitude     DC  FLOAT32                      O
        longitude    DC  FLOAT32                      O
        altitude     DC  FLOAT32                      O
        mRID         DC  VisString255                 O
        +text
    """,
    "LPL": """
        paramRev     ST  INT32                        O                     dchg
        valRev       ST  INT32                        O                     dchg
        vendor       DC  VisString255                 M
        swRev        DC  VisString255                 M
        ldNs         EX  VisString255                 MFln0
        lnNs         EX  VisString255                 MOlnNs
        d            DC  VisString255                 O
        dU           DC  Unicode255                   O
        configRev    DC  VisString255                 MOln0
        cdcName      EX  VisString255                 O
        dataNs       EX  VisString255                 MOdataNs
    """,
}

_SHARED_ROWS = {
    "+text": """
        d            DC  VisString255                 O
        dU           DC  Unicode255                   O
        cdcName      EX  VisString255                 O
        dataNs       EX  VisString255                 MOdataNs
    """,
    "+operated": """
        opRcvd       OR  BOOLEAN                      O                     dchg
        opOk         OR  BOOLEAN                      O                     dchg
        tOpOk        OR  Timestamp                    O
    """,
    "+subst": """
        subEna       SV  BOOLEAN                      MFsubst
        {0:<12} SV  {1:<28} MFsubst
        subQ         SV  Quality                      MFsubst
        subID        SV  VisString64                  MFsubst
        blkEna       BL  BOOLEAN                      O
    """,
}

_STRUCT_ROWS = {
    "AnalogueValue": "i INT32 AtLeastOne:1, f FLOAT32 AtLeastOne:1",
    "AnalogueValueCtl": "i INT32 AtLeastOne:1, f FLOAT32 AtLeastOne:1",
    "RangeConfig": "hhLim Struct:AnalogueValue MORange, hLim Struct:AnalogueValue MORange,"
                   " lLim Struct:AnalogueValue MORange, llLim Struct:AnalogueValue MORange,"
                   " min Struct:AnalogueValue M, max Struct:AnalogueValue M, limDb INT32U O",
    "ScaledValueConfig": "scaleFactor FLOAT32 M, offset FLOAT32 M",
    "ValWithTrans": "posVal INT8 M, transInd BOOLEAN O",
    "PulseConfig": "cmdQual Enum:OutputSignalKind M, onDur INT32U M, offDur INT32U M, numPls INT32U M",
    "Unit": "SIUnit Enum:SIUnitKind M, multiplier Enum:MultiplierKind O",
    "Vector": "mag Struct:AnalogueValue M, ang Struct:AnalogueValue O",
    "Originator": "orCat Enum:OriginatorCategoryKind M, orIdent Octet64 M",
    "Oper": "ctlVal CTL M, operTm Timestamp O, origin Struct:Originator M, ctlNum INT8U M, T Timestamp M,"
            " Test BOOLEAN M, Check Check M",
    "SBOw": "ctlVal CTL M, operTm Timestamp O, origin Struct:Originator M, ctlNum INT8U M, T Timestamp M,"
            " Test BOOLEAN M, Check Check M",
    "Cancel": "ctlVal CTL M, operTm Timestamp O, origin Struct:Originator M, ctlNum INT8U M, T Timestamp M,"
              " Test BOOLEAN M",
}

CTL_VALUES = {
    "SPC": "BOOLEAN", "DPC": "BOOLEAN", "INC": "INT32", "ENC": "Enum", "BSC": "Tcmd", "ISC": "INT8",
    "APC": "Struct", "BAC": "Tcmd",
}
"""bType of ctlVal: the CDCs that can be controlled."""

CONTROL_SERVICES = {
    "status-only": (),
    "direct-with-normal-security": ("Oper",),
    "sbo-with-normal-security": ("SBO", "Oper", "Cancel"),
    "direct-with-enhanced-security": ("Oper",),
    "sbo-with-enhanced-security": ("SBOw", "Oper", "Cancel"),
}
"""The CO attributes that a control model asks for (8-1: MOctrl, MOsboNormal, MOsboEnhanced, MOsbo)."""
# fmt: on


def _attribute(name: str, fc: str, kind: str, presence: str, *triggers: str) -> Attribute:
    if fc == "SDO":
        return Attribute(name, fc, "", kind, presence)
    btype, _, type_name = kind.partition(":")
    return Attribute(name, fc, btype, type_name, presence, triggers)


def _attributes(rows: str) -> list[Attribute]:
    found: list[Attribute] = []
    for line in filter(None, map(str.strip, rows.splitlines())):
        if line.startswith("+"):
            key, *values = line.split()
            found += _attributes(_SHARED_ROWS[key].format(*values))
        else:
            found.append(_attribute(*line.split()))
    return found


CDCS = {name: tuple(_attributes(rows)) for name, rows in _CDC_ROWS.items()}
"""CDC → its attributes, in the standard's order."""

STRUCTS = {
    name: tuple(_attribute(*(fields := member.split())[:1], "", *fields[1:]) for member in rows.split(", "))
    for name, rows in _STRUCT_ROWS.items()
}
"""Constructed attribute → its members, in order; ``ctlVal`` has bType ``CTL`` (see CTL_VALUES)."""

SERVICE_ATTRIBUTES = {
    "SBO": Attribute("SBO", "CO", "VisString129", "", "O"),
    "SBOw": Attribute("SBOw", "CO", "Struct", "SBOw", "O"),
    "Oper": Attribute("Oper", "CO", "Struct", "Oper", "O"),
    "Cancel": Attribute("Cancel", "CO", "Struct", "Cancel", "O"),
}
"""Attributes that 8-1 adds to a controllable data object."""
