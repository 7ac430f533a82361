from .autoencoder_weights import load_latent_autoencoder as load_latent_autoencoder
from .ema import ema_copy as ema_copy
from .ema import update_ema as update_ema
from .latent_autoencoder import LatentAutoencoder as LatentAutoencoder
from .random_inputs import ImageRandomInputs as ImageRandomInputs
from .random_inputs import RandomInputs as RandomInputs
from .tiny_autoencoder import TinyAutoencoder as TinyAutoencoder
