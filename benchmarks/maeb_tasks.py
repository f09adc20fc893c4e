"""The speech tasks of MAEB: where their data are, and which rows and labels they use.

Facts from embeddings-benchmark/mteb, commit a905523. Every task is judged by accuracy. MAEB fits a logistic regression
to the mean over time of the last layer, on eight examples of each label drawn at random. Tasks with a test split draw
five or ten times from the rows here, and test on the whole of that split; the others draw in each of five folds of the
rows here and test on the rest of the rows. Tasks of many languages are run on each, and their accuracies are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

MINDS_LANGUAGES = (
    *("cs-CZ", "de-DE", "en-GB", "es-ES", "fr-FR", "it-IT", "ko-KR", "nl-NL", "pl-PL", "pt-PT", "ru-RU", "zh-CN"),
)
FLEURS_LANGUAGES = (
    "afr_Latn amh_Ethi arb_Arab asm_Beng ast_Latn azj_Latn bel_Cyrl bul_Cyrl ben_Beng bos_Latn cat_Latn ceb_Latn "
    "ckb_Arab zho_Hans ces_Latn cym_Latn dan_Latn deu_Latn ell_Grek eng_Latn spa_Latn est_Latn pes_Arab fin_Latn "
    "tgl_Latn fra_Latn gle_Latn glg_Latn guj_Gujr hau_Latn heb_Hebr hin_Deva hrv_Latn hun_Latn hye_Armn ind_Latn "
    "ibo_Latn isl_Latn ita_Latn jpn_Jpan jav_Latn kat_Geor kam_Latn kea_Latn kaz_Cyrl khm_Khmr kan_Knda kor_Hang "
    "kir_Cyrl ltz_Latn lug_Latn lin_Latn lao_Laoo lit_Latn luo_Latn lvs_Latn mri_Latn mkd_Cyrl mal_Mlym khk_Cyrl "
    "mar_Deva zsm_Latn mlt_Latn mya_Mymr nob_Latn npi_Deva nld_Latn nso_Latn nya_Latn oci_Latn ory_Orya pan_Guru "
    "pol_Latn pbt_Arab por_Latn ron_Latn rus_Cyrl snd_Arab slk_Latn slv_Latn sna_Latn som_Latn srp_Cyrl swe_Latn "
    "swh_Latn tam_Taml tel_Telu tgk_Cyrl tha_Thai tur_Latn ukr_Cyrl umb_Latn urd_Arab uzn_Latn vie_Latn wol_Latn "
    "xho_Latn yor_Latn zho_Hant zul_Latn fuv_Latn gaz_Latn"
)
"""Names of the 102 languages of FLEURS."""
IEMOCAP_EMOTIONS = (
    *("angry", "sad", "happy", "neutral", "frustrated", "excited", "fear", "surprise", "disgust", "other"),
)
IEMOCAP = "6d4225271da423e791e16770d335cfa351cdf88e"
VOXPOPULI = "d5fb9661054ba250e2c03adeb9a702ad55e73f27"


@dataclass(frozen=True)
class Task:
    """A task of MAEB.

    Attributes:
        name: name of the task in the published table.
        path: data set on the hub.
        revision: commit of the data set.
        column: column with the label.
        split: split that examples are drawn from.
        tested_on: split that MAEB tests on; empty for five folds of `split`.
        keep: labels that are used, in lower case; empty for all but `drop`.
        drop: labels that are left out, in lower case.
        subsets: configurations of the data set, such as languages; empty for a single one.
    """

    name: str
    path: str
    revision: str
    column: str = "label"
    split: str = "train"
    tested_on: str = ""
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()

    def has(self, label: str) -> bool:
        """Return whether rows with this label are used."""
        name = label.lower()
        return name not in self.drop and (not self.keep or name in self.keep)

    def source(self, subset: str) -> str:
        """Return the address of the data set on the hub, for voxrank."""
        return f"hf://{self.path}@{self.revision}" + (f"#{subset}" if subset else "")

    @property
    def protocol(self) -> str:
        """The rows that MAEB tests on, in words."""
        return f"tested on {self.tested_on}" if self.tested_on else "five folds"


TASKS = (
    Task("FSDD", "mteb/free-spoken-digit-dataset", "c34455c99604d35cb8d27328c267be1478efc903", tested_on="test"),
    Task("SpeechCommands", "mteb/speech-commands-mini", "3ac713aa0829eeadda73182f38bbbd788d21254b", tested_on="test"),
    Task("CREMA_D", "mteb/crema-d", "a9d0821955c418752248b8310438854e56a1cf34"),
    Task("IEMOCAPEmotion", "mteb/iemocap", IEMOCAP, column="major_emotion", keep=IEMOCAP_EMOTIONS),
    Task("IEMOCAPGender", "mteb/iemocap", IEMOCAP, column="gender"),
    Task(
        "MInDS14",
        "mteb/minds14-multilingual",
        "58d73d2cddefab7df4bc0b814aa5c53c5fd4928e",
        column="intent_class",
        subsets=MINDS_LANGUAGES,
    ),
    Task(
        "SIBFLEURS",
        "mteb/sib-fleurs-multilingual-mini",
        "186b61175fbd77059f769b6bf1110d449a2ff311",
        column="category",
        subsets=tuple(FLEURS_LANGUAGES.split()),
    ),
    Task("SpokenQAForIC", "mteb/SpokenQA_SLUE", "97eb2287a0c881538cee9f5db415e80111d96a31", split="test"),
    Task(
        "VoxPopuliAccentID",
        "mteb/voxpopuli-accent-mini",
        "5ea6ce48d0de6db179cb7debf0d6813faa495a33",
        column="accent",
        split="test",
    ),
    Task("VoxPopuliGenderID", "mteb/voxpopuli-mini", VOXPOPULI, column="gender"),
    Task("VoxPopuliLanguageID", "mteb/voxpopuli-mini", VOXPOPULI, column="language"),
    Task(
        "CommonLanguageAgeDetection",
        "mteb/commonlanguage-age-mini",
        "a9c585af68d65a29c4ad12121f83853fa1cdda92",
        column="age",
        tested_on="test",
        drop=("not_defined", "eighties"),
    ),
    Task(
        "CommonLanguageGenderDetection",
        "mteb/commonlanguage-gender-mini",
        "65cdf4a4565f09b1747cd8fb37d18cd9aa1f6dd9",
        column="gender",
        tested_on="test",
    ),
    Task(
        "CommonLanguageLanguageDetection",
        "mteb/commonlanguage-lang-mini",
        "445bd662ffd3883ac662e2f1df18724c10688304",
        column="language",
        tested_on="test",
    ),
    Task("SpokeNEnglish", "mteb/SpokeN-100-English", "afbff14d927de14412d8124502313ea6d9d140e0"),
    Task(
        "VoxCelebSA",
        "mteb/voxceleb-sentiment",
        "17fb326752c26b58491de360f0a6a152c9bfe19d",
        split="test",
        drop=("disagreement",),
    ),
    Task("VoxLingua107_Top10", "mteb/voxlingua107-top10", "d934546d059e16c9a4669adbd518e0fa86a69ff0"),
    Task(
        "VocalSound",
        "mteb/vocalsound",
        "426c4f4779901e731f0ba7157de727750325a68b",
        column="answer",
        split="val",
        tested_on="test",
    ),
    Task("LibriCount", "mteb/libricount", "cc851c56e30dc5dde80c1823de96d52ca3cb2607"),
    Task(
        "AmbientAcousticContext",
        "mteb/ambient-acoustic-context-small",
        "8f4de158d4162de768ebb4dc0594429d785077da",
        tested_on="test",
    ),
)
