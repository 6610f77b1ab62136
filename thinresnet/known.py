"""The networks that are known to work: the tests build, train, count, fit, save and load every one of them.

Others of timm's CNNs are served by the same rules or refused with the reason: `thinresnet networks --check NAME`.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "ResNet": ("resnet18", "resnet34", "resnet50", "resnet18d", "wide_resnet50_2"),
    "ResNet relatives": ("resnext50_32x4d", "seresnet50", "ecaresnet26t", "resnetblur18", "resnetv2_50", "resnest14d"),
    "split and aggregated": (
        "res2net50_26w_4s",
        "skresnet18",
        "dla34",
        "cspresnet50",
        "ese_vovnet19b_dw",
        "hrnet_w18_small",
    ),
    "DenseNet, VGG, RepVGG": ("densenet121", "vgg16_bn", "repvgg_a0"),
    "mobile": (
        "mobilenetv1_100",
        "mobilenetv2_100",
        "mobilenetv3_large_100",
        "mobilenetv4_conv_small",
        "mixnet_s",
        "ghostnet_100",
        "rexnet_100",
        "shufflenet_v2_x1_0",
    ),
    "EfficientNet and RegNet": (
        "efficientnet_b0",
        "tf_efficientnetv2_b0",
        "regnetx_004",
        "regnety_004",
    ),
    "ConvNeXt": ("convnext_atto", "convnextv2_atto"),
    "CIFAR": (
        "resnet20_cifar",
        "resnet56_cifar",
        "preresnet164_cifar",
        "wrn16_2_cifar",
        "wrn40_2_cifar",
        "vgg16_cifar",
        "vgg19_cifar",
        "densenet40_cifar",
        "densenetbc100_cifar",
        "mobilenetv2_cifar",
        "shufflenet_v2_x1_0_cifar",
    ),
}
