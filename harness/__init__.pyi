from .api.attack import (
    Attack as Attack,
    Step as Step,
)
from .api.defense import (
    Defense as Defense,
    Resolve as Resolve,
    RoundCost as RoundCost,
    RoundJob as RoundJob,
    TrainedDefense as TrainedDefense,
)
from .api.hooks import (
    hookimpl as hookimpl,
)
from .api.judge import (
    Answer as Answer,
    Judge as Judge,
    Judging as Judging,
    Verdict as Verdict,
)
from .api.model.auxiliary import (
    Auxiliary as Auxiliary,
)
from .api.model.backend import (
    Ability as Ability,
    Backend as Backend,
    Differentiated as Differentiated,
    Generated as Generated,
    GenerateItem as GenerateItem,
    GradientItem as GradientItem,
    LatentAnswer as LatentAnswer,
    LatentItem as LatentItem,
    Perturbable as Perturbable,
    Perturbed as Perturbed,
    PerturbItem as PerturbItem,
    Relaxed as Relaxed,
    RelaxedBackend as RelaxedBackend,
    RelaxedItem as RelaxedItem,
    Sampled as Sampled,
    SampleItem as SampleItem,
    Scored as Scored,
    ScoreItem as ScoreItem,
    WithoutText as WithoutText,
    prompt_ids as prompt_ids,
)
from .api.model.mellowmax import (
    Mellowmax as Mellowmax,
)
from .api.model.shape import (
    MemoryFacts as MemoryFacts,
    ModelShape as ModelShape,
)
from .api.params import (
    Params as Params,
    SpecPath as SpecPath,
    host_field as host_field,
    spec_folder_or_name as spec_folder_or_name,
)
from .api.problem.latent import (
    Latent as Latent,
)
from .api.problem.placement import (
    allowed_tokens as allowed_tokens,
    place as place,
)
from .api.problem.problem import (
    Problem as Problem,
)
from .api.problem.state import (
    State as State,
)
from .api.refs import (
    AttackRef as AttackRef,
    DefenseRef as DefenseRef,
    JudgeRef as JudgeRef,
    PluginRef as PluginRef,
    TaskRef as TaskRef,
    VictimRef as VictimRef,
)
from .api.requests import (
    ActivationGradient as ActivationGradient,
    Activations as Activations,
    Classify as Classify,
    DefenseRequest as DefenseRequest,
    Generate as Generate,
    Gradient as Gradient,
    GradientAnswer as GradientAnswer,
    Likelihood as Likelihood,
    LikelihoodGradient as LikelihoodGradient,
    LossGradient as LossGradient,
    LossGradientAnswer as LossGradientAnswer,
    Perturb as Perturb,
    PerturbAnswer as PerturbAnswer,
    RelaxedAnswer as RelaxedAnswer,
    RelaxedGradient as RelaxedGradient,
    Sample as Sample,
    SampleAnswer as SampleAnswer,
    Score as Score,
)
from .api.runtime_defense import (
    Case as Case,
    Certificate as Certificate,
    ConversationDefense as ConversationDefense,
    FitJob as FitJob,
    GuardDefense as GuardDefense,
    Place as Place,
    Rewritten as Rewritten,
    Ruling as Ruling,
    RuntimeDefense as RuntimeDefense,
    Slope as Slope,
    TransformDefense as TransformDefense,
    VoteDefense as VoteDefense,
)
from .api.task import (
    NO_LABEL as NO_LABEL,
    AnyBut as AnyBut,
    Chunk as Chunk,
    Edit as Edit,
    Example as Example,
    Task as Task,
    TaskData as TaskData,
    TaskKind as TaskKind,
)
from .api.threat import (
    Threat as Threat,
)
from .api.training import (
    Lora as Lora,
    LoraParams as LoraParams,
    TrainConfig as TrainConfig,
    TrainRow as TrainRow,
)
from .api.victim import (
    PrepareJob as PrepareJob,
    PretrainCost as PretrainCost,
    Pretraining as Pretraining,
    PretrainJob as PretrainJob,
    Progress as Progress,
    RetrainJob as RetrainJob,
    Victim as Victim,
    VictimCard as VictimCard,
)
from .engine.dry_run import (
    dry_run_attack as dry_run_attack,
    rehearse as rehearse,
)
from .engine.losses import (
    cross_entropy as cross_entropy,
    text_loss as text_loss,
)
from .engine.open_backend import (
    open_folder as open_folder,
)
from .engine.torch.backend import (
    TorchBackend as TorchBackend,
)
from .engine.torch.devices import (
    resolve_device as resolve_device,
)
from .engine.torch.generation.generator import (
    ending_ids as ending_ids,
)
from .engine.torch.heads import (
    HeadName as HeadName,
    make_head as make_head,
)
from .engine.torch.loading import (
    context_length as context_length,
    load_model as load_model,
    no_progress_bars as no_progress_bars,
)
from .engine.torch.weights.named_base import (
    Base as Base,
    Origin as Origin,
    name_base as name_base,
)
from .errors import (
    AccessError as AccessError,
    DataError as DataError,
    HarnessError as HarnessError,
    PluginError as PluginError,
    RunError as RunError,
    SpecError as SpecError,
    VictimError as VictimError,
    did_you_mean as did_you_mean,
)
from .flops import (
    UNKNOWN as UNKNOWN,
    Flops as Flops,
    nominal_backward as nominal_backward,
    nominal_forward as nominal_forward,
)
from .records.answer_state import (
    AnswerState as AnswerState,
)
from .records.read import (
    Cell as Cell,
    Run as Run,
    read_run as read_run,
)
from .rng import (
    endless_permutation as endless_permutation,
    named_rng as named_rng,
    named_seed as named_seed,
)
from .surrogates import (
    replace_surrogates as replace_surrogates,
)
from .tokens.answers.answer_rule import (
    AnswerRule as AnswerRule,
)
from .tokens.answers.normalise import (
    normalise_text as normalise_text,
    phrase_pattern as phrase_pattern,
)
from .tokens.answers.tool_calls import (
    ToolCall as ToolCall,
    tool_calls as tool_calls,
)
from .tokens.chat_format import (
    ChatFormat as ChatFormat,
)
from .tokens.chat_template import (
    ChatTemplate as ChatTemplate,
)
from .tokens.continuation import (
    continuation_ids as continuation_ids,
)
from .tokens.hf_tokenizer import (
    HFTokenizer as HFTokenizer,
)
from .tokens.message import (
    Conversation as Conversation,
    Message as Message,
    Messages as Messages,
    Prompt as Prompt,
    Role as Role,
)
from .tokens.prompts import (
    answer_ids as answer_ids,
    chat_of as chat_of,
    encode_prompts as encode_prompts,
)
from .tokens.tokenizer import (
    Floats as Floats,
    Tokenizer as Tokenizer,
    Tokens as Tokens,
)
from .training.learner import (
    Learner as Learner,
)
from .training.loop import (
    train as train,
)
from .training.model_folder import (
    save_description as save_description,
    save_model as save_model,
    saved_ending as saved_ending,
)
from .training.rerouting import (
    Rerouting as Rerouting,
    ReroutingLoss as ReroutingLoss,
)
from .training.retrain import (
    retrain as retrain,
)
from .training.text_views import (
    TextLoss as TextLoss,
    TextView as TextView,
    TextViews as TextViews,
)
from .training.training_rows import (
    clean_rows as clean_rows,
    render as render,
    reply_ids as reply_ids,
    reply_row as reply_row,
    reply_rows as reply_rows,
    rows_hash as rows_hash,
)
from .training.views import (
    ViewLoss as ViewLoss,
    Views as Views,
)

__version__: str
