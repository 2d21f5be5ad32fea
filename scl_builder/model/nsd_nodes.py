"""Data objects of the logical node classes: facts of IEC 61850-7-4 (2007B5), as a table.

An entry is ``name:CDC[/enumeration][=presence[|derived]]``; without presence it is optional. ``F`` is
forbidden, ``OF:x`` forbidden without x; of ``1of:x`` and x exactly one is there. ``derived`` is the NSD's
dsPresCond: the presence in a derived statistic, which has ClcSrc; without it, it is the same. ``+domain`` and
the like stand for objects that many classes share. Classes that meters and switchgear use are complete; of
the others only the mandatory objects are listed, so that nothing is said about their optional ones.

>>> rule("XSWI", "SwTyp")
ObjectRule(name='SwTyp', cdc='ENS', enum='SwitchFunctionKind', presence='M', derived='M')
>>> rule("GGIO", "IntIn3").presence
'Omulti'
"""

from __future__ import annotations

from dataclasses import dataclass

# fmt: off
_SHARED = {
    "+domain":
        "NamPlt:LPL Beh:ENS/BehaviourModeKind=M Health:ENS/HealthKind Mir:SPS Mod:ENC/BehaviourModeKind"
        " InRef:ORG=Omulti ClcExp:SPS ClcNxtTmms:INS ClcStr:SPC ClcMth:ENG/CalcMethodKind=O|M"
        " ClcMod:ENG/CalcModeKind ClcIntvTyp:ENG/CalcIntervalKind ClcIntvPer:ING NumSubIntv:ING"
        " ClcRfTyp:ENG/CalcIntervalKind ClcRfPer:ING ClcSrc:ORG=F|M InSyn:ORG Blk:SPS=O|F"
        " BlkRef:ORG=Omulti|F",
    "+controlled":
        "+domain Loc:SPS LocKey:SPS=OF:Loc LocSta:SPC=OF:Loc CmdBlk:SPC OpCntRs:INC",
    "+energy":
        "+domain TotVAh:BCR TotWh:BCR TotVArh:BCR SupWh:BCR SupVArh:BCR DmdWh:BCR DmdVArh:BCR",
    "+equipment":
        "EEName:DPL EEHealth:ENS/HealthKind OpTmh:INS",
    "+switching":
        "+domain +equipment Loc:SPS=M LocKey:SPS OpCnt:INS=M Dsc:SPS LocSta:SPC Pos:DPC=M BlkOpn:SPC=M"
        " BlkCls:SPC=M ChaMotEna:SPC DscDlTmms:ING",
    "+harmonics":
        "+domain Hz:MV=1of:HzSet HzSet:ASG=1of:Hz EvTmms:ING NumCyc:ING ThdAVal:ASG ThdVVal:ASG ThdATmms:ING"
        " ThdVTmms:ING NomA:ASG",
    "+outputs":
        "SPCSO:SPC=Omulti DPCSO:DPC=Omulti ISCSO:INC=Omulti",
    "+signals":
        "Alm:SPS=Omulti Wrn:SPS=Omulti Ind:SPS=Omulti",
}

_COMPLETE = {
    "LLN0":
        "NamPlt:LPL=MOrootLD Beh:ENS/BehaviourModeKind=M Health:ENS/HealthKind=MOrootLD LocKey:SPS Loc:SPS"
        " Mod:ENC/BehaviourModeKind=MOrootLD LocSta:SPC Diag:SPC LEDRs:SPC SwModKey:SPC InRef:ORG=Omulti"
        " GrRef:ORG MltLev:SPG",
    "LPHD":
        "NamPlt:LPL PhyNam:DPL=M PhyHealth:ENS/HealthKind=M OutOv:SPS Proxy:SPS=M InOv:SPS OpTmh:INS"
        " NumPwrUp:INS WrmStr:INS WacTrg:INS PwrUp:SPS PwrDn:SPS PwrSupAlm:SPS RsStat:SPC Sim:SPC MaxDl:ING",
    "MMXN": "+domain Amp:MV Vol:MV Watt:MV VolAmpr:MV VolAmp:MV PwrFact:MV Imp:CMV Hz:MV",
    "MMTN": "+energy",
    "MMTR": "+energy",
    "MMXU":
        "+domain TotW:MV TotVAr:MV TotVA:MV TotPF:MV Hz:MV PPV:DEL PNV:WYE PhV:WYE A:WYE W:WYE VAr:WYE"
        " VA:WYE PF:WYE Z:WYE AvAPhs:MV AvPPVPhs:MV AvPhVPhs:MV AvWPhs:MV AvVAPhs:MV AvVArPhs:MV AvPFPhs:MV"
        " AvZPhs:MV MaxAPhs:MV MaxPPVPhs:MV MaxPhVPhs:MV MaxWPhs:MV MaxVAPhs:MV MaxVArPhs:MV MaxPFPhs:MV"
        " MaxZPhs:MV MinAPhs:MV MinPPVPhs:MV MinPhVPhs:MV MinWPhs:MV MinVAPhs:MV MinVArPhs:MV MinPFPhs:MV"
        " MinZPhs:MV HzRte:MV ClcTotVA:ENG/STotalCalcMethodKind=O|F PFSign:ENG/PFSignKind=O|F",
    "MHAI":
        "+harmonics HA:HWYE HPhV:HWYE HPPV:HDEL HW:HWYE HVAr:HWYE HVA:HWYE HRmsA:WYE HRmsPhV:WYE HRmsPPV:DEL"
        " HTuW:WYE HTsW:WYE HATm:WYE HKFact:WYE HTdf:WYE ThdA:WYE ThdOddA:WYE ThdEvnA:WYE TddA:WYE"
        " TddOddA:WYE TddEvnA:WYE ThdPhV:WYE ThdOddPhV:WYE ThdEvnPhV:WYE ThdPPV:DEL ThdOddPPV:DEL"
        " ThdEvnPPV:DEL HCfPhV:WYE HCfPPV:DEL HCfA:WYE HTiFact:WYE",
    "CSWI":
        "+controlled OpOpn:ACT SelOpn:SPS OpCls:ACT SelCls:SPS Pos:DPC=M PosA:DPC PosB:DPC PosC:DPC"
        " SwModKey:SPC DscDlTmms:ING",
    "CILO": "+domain EnaOpn:SPS=M EnaCls:SPS=M",
    "XSWI": "+switching SwTyp:ENS/SwitchFunctionKind=M SwOpCap:ENS/SwitchingCapabilityKind",
    "XCBR":
        "+switching CBOpCap:ENS/BreakerOpCapabilityKind POWCap:ENS/POWSwitchingCapabilityKind MaxOpCap:INS"
        " SumSwARs:BCR CBTmms:ING POWOpnTmms:ING POWClsTmms:ING",
    "GGIO":
        "+controlled +equipment +signals +outputs IntIn:INS=Omulti CntVal:BCR=Omulti AnIn:MV=Omulti"
        " AnOut:APC=Omulti",
    "LTMS":
        "+domain TmAcc:INS TmSrc:VSS=M TmSrcTyp:ENS/ClockSourceKind=M TmSyn:ENS/ClockSyncKind"
        " TmChSt:SPS=Omulti TmSynLkd:ENS/ClockSyncLockingKind TmSrcSet:VSG=Omulti HoldTms:ING",
    "GAPC": "+controlled +signals +outputs Auto:SPC Str:ACD Op:ACT StrVal:ASG",
}

_MANDATORY_ONLY = {
    "":
        "LTRK ARIS ATCC AVCO CALH CCGR CSYN FLIM FRMP FSPT GLOG IHMI ITCI ITMI ITPC KFAN KFIL KPMP KTNK KVLV"
        " MENV MFLK MHAN MHYD MMDC MMET MSQI PMRI PMSS PTEF PTRC QFVR QITR QIUB QVTR QVUB QVVR RADR RBDR"
        " RBRF RDRS RFLO RMXU RPSB SLTC SOPM SPDC SPTR SSWI STMP SVBR TANG TAXD TDST TFLW TFRQ TGSN THUM TLVL"
        " TMGF TMVM TPOS TPRS TRTN TSND TTMP TTNS TVBR TWPH YEFN YPTR ZAXN ZBAT ZBSH ZCAB ZCON ZGIL ZLIN ZMOT"
        " ZREA ZRES ZRRC ZTCF ZTCR",
    "Op:ACT=M": "FXOT FXUT PDIF PIOC PSCH PSOF PTDV PTTR",
    "Str:ACD=M": "PHAR PSDE PTOV",
    "Str:ACD=M Op:ACT=M":
        "PDIR PDIS PDOP PDUP PFRC PHIZ POPF PPAM PRTR PTHF PTOC PTOF PTUC PTUF PTUV PUPF PVOC PVPH PZSU",
    "ChLiv:SPS=M": "LCCH",
    "St:SPS=M GoCBRef:ORG=M": "LGOS",
    "St:SPS=M SvCBRef:ORG=M": "LSVS",
    "TmDT:SPS=M TmOfsTmm:ING=M TmUseDT:SPG=M": "LTIM",
    "ParColMod:ENG=M": "ANCR",
    "TapChg:BSC=M": "ARCO",
    "TmExc:SPS=M": "CPOW",
    "CntVal:BCR=M": "FCNT",
    "Crv:CSG=M": "FCSD",
    "FilTyp:ENG=M": "FFIL",
    "PIDAlg:ENG=M": "FPID",
    "ActSchdRef:ORS=M CtlEnt:ORG=M": "FSCC",
    "SchdSt:ENS=M NxtStrTm:TCS=M SchdEnaErr:ENS=M EnaReq:SPC=M DsaReq:SPC=M NumEntr:ING=M SchdIntv:ING=M"
    " SchdReuse:SPG=M": "FSCH",
    "AuthFail:SEC=M AcsCtlFail:SEC=M SvcViol:SEC=M Ina:SEC=M OpCntRs:INC=M": "GSAL",
    "MemOv:SPS=M": "IARC",
    "Alm:SPS=M": "ISAF",
    "MatTyp:ENG=M MatSt:ENG=M": "MFLW",
    "MatTyp:ENG=M": "MHET",
    "Dir:ACD=M": "RDIR",
    "RcdMade:SPS=M FltNum:INS=M": "RDRE",
    "OpCls:ACT=M AutoRecSt:ENS=M": "RREC",
    "Rel:SPS=M": "RSYN",
    "FADet:SPS=M FACntRs:INC=M": "SARC",
    "ColOpn:SPS=M": "SCBR",
    "InsAlm:SPS=M": "SIMG SIML",
    "Pres:MV=M": "SPRS",
    "HzRtg:ASG=M ARtg:ASG=M": "TCTR",
    "HzRtg:ASG=M VRtg:ASG=M": "TVTR",
    "FuTyp:ENG=M": "XFUS",
    "EndPosR:SPS=M EndPosL:SPS=M": "YLTC",
    "ShOpCap:ENS/SwitchingCapabilityKind=M Pos:DPC=M BlkOpn:SPC=M BlkCls:SPC=M": "YPSH",
    "DschBlk:SPS=M": "ZCAP",
    "GnSt:ENS=M OpNoLod:SPS=M RotDir:ENS=M OpUnExt:SPS=M OpOvExt:SPS=M": "ZGEN",
    "OpSar:SPS=M": "ZSAR",
    "Alm:SPS=M OpModRect:ENG=M": "ZSCR",
    "VRtg:ASG=M ARtg:ASG=M VARtg:ASG=M SpdRtg:ASG=M": "ZSMC",
}
"""Mandatory objects beside Beh → the classes that have just these."""
# fmt: on


DERIVED = "ClcSrc"
"""What makes a logical node a derived statistic."""


@dataclass(frozen=True)
class ObjectRule:
    """What a logical node class says of one data object; ``enum`` is the kind of its value, if any."""

    name: str
    cdc: str
    enum: str
    presence: str
    derived: str
    """Presence in a derived statistic."""

    def of(self, *, derived: bool) -> str:
        """The presence in a plain logical node, or in a derived statistic."""
        return self.derived if derived else self.presence


def _rules(entries: str) -> dict[str, ObjectRule]:
    found: dict[str, ObjectRule] = {}
    for entry in entries.split():
        if entry.startswith("+"):
            found |= _rules(_SHARED[entry])
            continue
        text, _, presence = entry.partition("=")
        name, _, kind = text.partition(":")
        cdc, _, enum = kind.partition("/")
        plain, _, derived = (presence or "O").partition("|")
        found[name] = ObjectRule(name, cdc, enum, plain, derived or plain)
    return found


COMPLETE_CLASSES = frozenset(_COMPLETE)
"""Classes whose every data object is listed: an object that is not is none of the class."""

LN_CLASSES: dict[str, dict[str, ObjectRule]] = {
    **{name: _rules(entries) for name, entries in _COMPLETE.items()},
    **{
        name: _rules(f"+domain {entries}")
        for entries, names in _MANDATORY_ONLY.items()
        for name in names.split()
    },
}
"""Every class of 7-4 → its data objects, in the standard's order."""


def rule(ln_class: str, name: str) -> ObjectRule | None:
    """What ``ln_class`` says of data object ``name`` (numbered where it may occur several times)."""
    objects = LN_CLASSES.get(ln_class, {})
    numberless = objects.get(name.rstrip("0123456789"))
    if name not in objects and numberless and numberless.presence == "Omulti":
        return numberless
    return objects.get(name)
