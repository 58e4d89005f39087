"""The autoencoder of the emoji world: an AutoencoderTiny whose latents have zero mean and unit variance."""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float
from torch import Tensor, nn

from condistill.maths import draws
from condistill.world.emoji.render import Renders
from condistill.world.emoji.timed import Budget, placed, train_timed

LATENT_CHANNELS = 16
CHANNELS = 64
NOISE = 0.1  # added to the normalised latents in training, so that near latents decode to near images
BATCH = 32
EDGE_WEIGHT = 1.0


def make_autoencoder() -> AutoencoderTiny:
    """An untrained autoencoder that reduces the edge eightfold; no block at full size, where it would cost most."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(CHANNELS,) * 4,
        decoder_block_out_channels=(CHANNELS,) * 4,
        num_encoder_blocks=(0, 1, 2, 2),
        num_decoder_blocks=(3, 3, 1, 0),
        scaling_factor=1.0,
    )


def to_tensor(images: Tensor) -> Float[Tensor, "n 3 h w"]:
    """Images uint8 (n, h, w, 3) as float in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous(memory_format=torch.channels_last)


def reconstruction_loss(decoded: Float[Tensor, "n 3 h w"], images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, ""]:
    """The mean absolute error of pixels plus that of the differences between neighbours, so that edges stay sharp."""
    error = decoded - images
    return error.abs().mean() + EDGE_WEIGHT * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())


def psnr(decoded: Float[Tensor, "n 3 h w"], images: Float[Tensor, "n 3 h w"]) -> float:
    """The peak signal-to-noise ratio in dB of images in [-1, 1]."""
    error = ((decoded.clamp(-1, 1) - images) / 2).square().mean().item()
    return -10 * math.log10(max(error, 1e-12))


def train_autoencoder(renders: Renders, budget: Budget) -> AutoencoderTiny:
    """The trained autoencoder; the normalisation of its latents is folded into its encoder.

    bfloat16 throughout: on a processor with matrix units it is four times as fast as float32 here.
    """
    torch.manual_seed(budget.seed)
    device = budget.device
    vae = placed(make_autoencoder(), device)
    norm = nn.BatchNorm2d(LATENT_CHANNELS, affine=False, momentum=0.02).to(device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    images = torch.from_numpy(renders.images).to(device)

    def step(number: int) -> dict[str, float]:
        samples = draws.numbers(number * BATCH, BATCH)
        rows = torch.from_numpy(draws.permuted(budget.seed, "vae order", samples, len(images)))
        x = to_tensor(images[rows.to(device)])
        with torch.autocast(device.type, torch.bfloat16):
            latents = norm(vae.encoder(x).float())
            noise = draws.normal(budget.seed, "vae noise", samples[:1], latents.shape)[0].to(device)
            decoded = vae.decoder(latents + NOISE * noise).float()
        loss = reconstruction_loss(decoded, x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item(), "psnr": psnr(decoded.detach(), x)} if number % 10 == 0 else {}

    parts = {"vae": vae, "norm": norm}
    train_timed(step, budget, what="autoencoder", optimizer=optimizer, parts=parts, images_per_step=BATCH)
    _fold(vae, *_statistics(vae, images))
    return vae.eval()


def refine_decoder(vae: AutoencoderTiny, renders: Renders, budget: Budget) -> AutoencoderTiny:
    """The autoencoder with its decoder trained further; the encoder, and so the latents, stay as they are.

    A denoiser can learn on the latents meanwhile.
    """
    device = budget.device
    vae = placed(vae, device)
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    images = torch.from_numpy(renders.images).to(device)
    latents = encode_all(vae, images)

    def step(number: int) -> dict[str, float]:
        samples = draws.numbers(number * BATCH, BATCH)
        rows = torch.from_numpy(draws.permuted(budget.seed, "decoder order", samples, len(images))).to(device)
        x = to_tensor(images[rows])
        noise = draws.normal(budget.seed, "decoder noise", samples[:1], latents[rows].shape)[0].to(device)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = vae.decoder(latents[rows] + NOISE * noise).float()
        loss = reconstruction_loss(decoded, x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item(), "psnr": psnr(decoded.detach(), x)} if number % 10 == 0 else {}

    parts = {"decoder": vae.decoder}
    train_timed(step, budget, what="decoder", optimizer=optimizer, parts=parts, images_per_step=BATCH)
    return vae.eval()


@torch.no_grad()
def encode_all(vae: AutoencoderTiny, images: Tensor, *, batch: int = 128) -> Float[Tensor, "n c h w"]:
    """Latents of uint8 images (n, h, w, 3), in float32."""
    return torch.cat([vae.encoder(to_tensor(part)) for part in images.split(batch)])


@torch.no_grad()
def decode_all(vae: AutoencoderTiny, latents: Tensor, *, batch: int = 128) -> Float[Tensor, "n 3 h w"]:
    """Images in [-1, 1] of latents, in float32."""
    return torch.cat([vae.decoder(part) for part in latents.split(batch)]).clamp(-1, 1)


def _statistics(vae: AutoencoderTiny, images: Tensor) -> tuple[Tensor, Tensor]:
    latents = encode_all(vae, images[::3])
    return latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))


@torch.no_grad()
def _fold(vae: AutoencoderTiny, mean: Tensor, std: Tensor) -> None:
    """Makes the last convolution of the encoder give (latent - mean) / std."""
    last = vae.encoder.layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    last.weight.div_(std[:, None, None, None])
    last.bias.sub_(mean).div_(std)
